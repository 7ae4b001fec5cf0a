/** A simulated machine: its drives, its sockets, and the processes that run on it one after the other or side by side. */

import type { Env, Files, OpenFile, OpenFileOptions } from '../src/env/env.ts';
import { EAGAIN, EBADF, EEXIST, ENOENT, ENOSPC, ErrnoError } from '../src/model/errno.ts';
import { FaultPlan, type FaultEffect } from './faults.ts';
import { SimDisk } from './sim-disk.ts';
import type { Handle } from './sim-handles.ts';
import { SimIo } from './sim-io.ts';
import { LATENCY_CALM, type Latency, type SimOperation } from './sim-operation.ts';
import { SimSockets } from './sim-sockets.ts';
import type { World } from './world.ts';

/** 2026-01-01: the wall clock of every world begins there. */
const WALL_START_MS = 1_767_225_600_000;

/** A process: its Env, and the strings that kill it. */
export type SimProcess = { readonly env: Env; readonly io: SimIo };

export class SimMachine {
  readonly world: World;
  readonly disks: Map<string, SimDisk> = new Map<string, SimDisk>();
  readonly sockets: SimSockets = new SimSockets((path) => this.disks.has(path));
  readonly faults: FaultPlan = new FaultPlan();
  latency: Latency = LATENCY_CALM;
  /** Drives that hang: what they are asked takes so much longer, us. */
  readonly delaysUs: Map<SimDisk, number> = new Map<SimDisk, number>();
  /** Operations on drives that were started, ever. */
  operationCount = 0;
  /** Called as each operation on a drive starts. */
  onOperation: ((operation: SimOperation) => void) | undefined;
  readonly #processes = new Set<SimIo>();
  #bootCount = 1;
  readonly #notes = new Set<string>();
  readonly #sectorBytes: 512 | 4096;

  constructor(world: World, options: { readonly sectorBytes?: 512 | 4096 } = {}) {
    this.world = world;
    this.#sectorBytes = options.sectorBytes ?? 512;
  }

  /** Starts a process with `memory` as its arena, which is scribbled over. */
  start(memory: WebAssembly.Memory): SimProcess {
    const io = new SimIo(this, memory);
    this.#processes.add(io);
    const { world } = this;
    const env: Env = {
      clock: {
        monotonicMs: () => world.nowUs / 1000,
        bootMs: () => world.nowUs / 1000,
        wallMs: () => Math.floor(WALL_START_MS + world.nowUs / 1000),
      },
      random: {
        below: (bound) => world.prng.below(bound),
        bytes: (length) => world.prng.bytes(length),
      },
      files: this.#files(io),
      io,
      boot: this.#boot(io),
    };
    return { env, io };
  }

  /** SIGKILL. */
  kill(process: SimProcess): void {
    this.world.trace('--- SIGKILL');
    process.io.kill();
    this.#processes.delete(process.io);
  }

  /** Every process dies at once and each drive keeps of its cache what `cutDisk` decides. */
  powerOff(cutDisk: (disk: SimDisk) => void): void {
    this.world.trace('--- power cut');
    for (const io of this.#processes) io.powerOff(() => this.world.prng.chance(50));
    this.#processes.clear();
    for (const disk of this.disks.values()) {
      disk.lock = undefined;
      cutDisk(disk);
    }
    this.#bootCount++;
    this.#notes.clear();
  }

  #boot(io: SimIo): Env['boot'] {
    const notes = this.#notes;
    return {
      id: this.#bootCount.toString(16).padStart(32, '0'),
      noted: (name) => notes.has(name),
      note: (name) => {
        if (!io.isDead) notes.add(name);
      },
      takeBack: (name) => {
        if (!io.isDead) notes.delete(name);
      },
    };
  }

  effect(operation: SimOperation): FaultEffect | undefined {
    this.operationCount++;
    if (this.world.onTrace !== undefined) this.world.trace(`  ${operation.description}`);
    this.onOperation?.(operation);
    const delayUs = this.delaysUs.get(operation.disk);
    if (delayUs !== undefined) return { kind: 'slow', delayUs };
    const effect = this.faults.next(operation.kind, operation.positionBytes);
    if (effect !== undefined) this.world.trace(`  fault ${JSON.stringify(effect)}`);
    return effect;
  }

  onClosed(handle: Handle): void {
    this.sockets.closed(handle);
    if (handle.kind !== 'disk' || handle.lock === undefined) return;
    if (handle.disk.lock === handle.lock) handle.disk.lock = undefined;
  }

  #files(io: SimIo): Files {
    // Whatever happens to a process's call after its death, it does not return.
    const call = <T>(run: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        this.world.schedule(1 + this.world.prng.below(50), () => {
          if (io.isDead) return;
          this.world.askToSettle();
          try {
            resolve(run());
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
    return {
      open: (path, options) => call(() => this.#open(io, path, options)),
      allocate: (fd, options) => call(() => this.#allocate(diskOf(io, fd), options.sizeBytes)),
      sizeBytes: (fd) => call(() => diskOf(io, fd).sizeBytes),
      nextData: (fd, fromBytes) =>
        call(() => {
          const toBytes = diskOf(io, fd).sizeBytes;
          return fromBytes < toBytes ? { fromBytes, toBytes } : undefined;
        }),
      close: (fd) =>
        call(() => {
          if (!io.closeHandle(fd)) throw new ErrnoError({ errno: EBADF, syscall: 'close' });
        }),
      listen: (path) =>
        call(() => {
          this.sockets.listen(path);
          return io.openHandle({ kind: 'listener', path });
        }),
      listenTcp: (address) =>
        call(() => {
          const { port, path } = this.sockets.listenTcp(address);
          return { fd: io.openHandle({ kind: 'listener', path }), port };
        }),
      remove: (path) =>
        call(() => {
          if (this.disks.delete(path) || this.sockets.remove(path)) return;
          throw new ErrnoError({ errno: ENOENT, syscall: 'unlink', path });
        }),
    };
  }

  #open(io: SimIo, path: string, options: OpenFileOptions): OpenFile {
    const fail = (errno: number): never => {
      throw new ErrnoError({ errno, syscall: 'open', path });
    };
    let disk = this.disks.get(path);
    if (options.create) {
      if (disk !== undefined) fail(EEXIST);
      disk = new SimDisk({ path, kind: 'file', sectorBytes: this.#sectorBytes, sizeBytes: 0 });
      this.disks.set(path, disk);
    }
    if (disk === undefined) return fail(ENOENT);
    const lock = options.exclusive ? {} : undefined;
    if (lock !== undefined && disk.lock !== undefined) fail(EAGAIN);
    disk.reopened();
    disk.lock ??= lock;
    const { direct = false, readOnly = false } = options;
    const fd = io.openHandle({ kind: 'disk', disk, direct, readOnly, lock });
    return { fd, kind: disk.kind, sizeBytes: disk.sizeBytes, sectorBytes: disk.sectorBytes };
  }

  #allocate(disk: SimDisk, sizeBytes: number): void {
    const more = sizeBytes - disk.sizeBytes;
    if (more > disk.hostFreeBytes) throw new ErrnoError({ errno: ENOSPC, syscall: 'fallocate' });
    disk.hostFreeBytes -= more;
    disk.sizeBytes = sizeBytes;
  }
}

function diskOf(io: SimIo, fd: number): SimDisk {
  const handle = io.handle(fd);
  if (handle?.kind !== 'disk') throw new ErrnoError({ errno: EBADF, syscall: 'fstat' });
  return handle.disk;
}
