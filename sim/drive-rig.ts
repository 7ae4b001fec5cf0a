/** A drive on a simulated machine, for tests of the store that need no history: made, opened, called, looked at. */

import { EIO } from '../src/model/errno.ts';
import { Arena } from '../src/lib/arena.ts';
import type { BlockTarget } from '../src/model/block-target.ts';
import { checkDrive } from '../src/store/check.ts';
import type { CheckReport } from '../src/store/check-report.ts';
import { DriveStore } from '../src/store/drive-store.ts';
import { formatDrive, type FormatOptions } from '../src/store/format-drive.ts';
import type { DriveLimits } from '../src/store/open-drive.ts';
import { SimDisk } from './sim-disk.ts';
import { SimMachine, type SimProcess } from './sim-machine.ts';
import { World } from './world.ts';

const PATH = '/sim/drive.img';
/** 16 MiB: the memories of a small drive, and a client's 64 KiB. */
const MEMORY_PAGES = 256;

/** A drive of a few MiB: 8 cells for each chunk, a log of 1 MiB. */
export const SMALL: FormatOptions['geometry'] & { readonly sizeBytes: number } = {
  sizeBytes: 8 * 2 ** 20,
  logBytes: 2 ** 20,
  tablePages: 8,
  cellsPerChunk: 8,
  chunkCountMax: 64,
};

const LIMITS: DriveLimits = {
  cachePages: 64,
  logMemoryBlocks: 64,
  frameBlocksMax: 16,
  firstChunk: 0,
  marksMax: Infinity,
};

export class DriveRig {
  readonly world: World;
  readonly machine: SimMachine;
  #process: SimProcess;
  #arena: Arena;
  #isDead = false;

  constructor(seed = 1, memoryPages: number = MEMORY_PAGES) {
    this.world = new World(seed);
    this.machine = new SimMachine(this.world);
    const memory = new WebAssembly.Memory({ initial: memoryPages, maximum: memoryPages });
    this.#arena = new Arena(memory);
    this.#process = this.machine.start(memory);
  }

  get arena(): Arena {
    return this.#arena;
  }

  /** The drive's disk, to look at and to damage. */
  get disk(): SimDisk {
    const disk = this.machine.disks.get(PATH);
    if (disk === undefined) throw new Error('the drive is not made yet');
    return disk;
  }

  /** Puts a device of this size in place, with `bytes` on it. */
  place(
    sizeBytes: number,
    bytes: readonly { readonly at: number; readonly bytes: Uint8Array }[],
  ): void {
    const disk = new SimDisk({ path: PATH, kind: 'file', sectorBytes: 512, sizeBytes });
    for (const piece of bytes) disk.apply({ completed: 0 }, piece.at, piece.bytes);
    this.machine.disks.set(PATH, disk);
  }

  async format(
    options: Partial<FormatOptions> = {},
  ): Promise<{ driveUuid: string; sizeBytes: number }> {
    const { sizeBytes, ...geometry } = SMALL;
    const all = { path: PATH, arena: this.#arena, sizeBytes, sparse: true, geometry, ...options };
    return await this.run(formatDrive(this.#process.env, all));
  }

  async open(limits: Partial<DriveLimits> = {}): Promise<DriveStore> {
    const all = { path: PATH, arena: this.#arena, limits: { ...LIMITS, ...limits } };
    return await this.run(DriveStore.open(this.#process.env, all));
  }

  async check(
    options: { readonly data?: boolean; readonly repair?: boolean } = {},
  ): Promise<CheckReport> {
    return await this.run(
      checkDrive(this.#process.env, { path: PATH, arena: this.#arena, ...options }),
    );
  }

  /** SIGKILL, and another process on the same machine. What the dead one had under way has ended when it is there. */
  async restart(): Promise<void> {
    this.kill();
    this.machine.onOperation = undefined;
    await this.world.sleep(1_000_000);
    const { memory } = this.#arena;
    this.#process = this.machine.start(memory);
    this.#arena = new Arena(memory);
    this.#isDead = false;
  }

  /** SIGKILL as the drive gets its `count`th operation from now. Whoever waits for the process then hears of a Violation. */
  killAfter(count: number): void {
    const at = this.machine.operationCount + count;
    this.machine.onOperation = () => {
      if (this.machine.operationCount === at) this.world.schedule(0, () => this.kill());
    };
  }

  kill(): void {
    if (!this.#isDead) this.machine.kill(this.#process);
    this.#isDead = true;
  }

  /** Lets the world go on until `work` is settled. */
  async run<T>(work: Promise<T>): Promise<T> {
    return await this.world.await(work, 'what a test waits for');
  }

  /** Runs `call` in a turn of the process, as its frontend would. */
  inTurn(call: () => void): void {
    this.#process.io.inTurn(call);
  }

  /** Flips a bit of the byte at `at`, on the media. */
  rot(at: number): void {
    const byte = new Uint8Array(512);
    const sector = Math.floor(at / 512) * 512;
    this.disk.read(sector, byte);
    byte[at - sector] = (byte[at - sector] ?? 0) ^ 0x10;
    this.disk.apply({ completed: 0 }, sector, byte);
  }

  /** A client of one volume that does one request at a time. */
  client(store: DriveStore, uuid: string): RigClient {
    return new RigClient(this, (onDone) => store.openTarget(uuid, onDone));
  }
}

/** Resolves requests with their errno. */
export class RigClient {
  readonly #rig: DriveRig;
  readonly #target: BlockTarget;
  readonly #address: number;
  readonly #waiting = new Map<number, (errno: number) => void>();
  #token = 0;

  constructor(
    rig: DriveRig,
    open: (onDone: (token: number, errno: number) => void) => BlockTarget,
  ) {
    this.#rig = rig;
    this.#address = rig.arena.reserve(65_536, 4096);
    this.#target = open((token, errno) => {
      this.#waiting.get(token)?.(errno);
      this.#waiting.delete(token);
      rig.world.askToSettle();
    });
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<number> {
    this.#rig.arena.u8.set(bytes, this.#address);
    return await this.#do((token) =>
      this.#target.write(token, offsetBytes, bytes.length, this.#address, false),
    );
  }

  /** Whole blocks, or undefined where the read ended in EIO. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    const errno = await this.#do((token) =>
      this.#target.read(token, offsetBytes / 4096, lengthBytes / 4096, this.#address),
    );
    if (errno === EIO) return undefined;
    if (errno !== 0) throw new Error(`a read ended in errno ${errno}`);
    return this.#rig.arena.u8.slice(this.#address, this.#address + lengthBytes);
  }

  async flush(): Promise<number> {
    return await this.#do((token) => this.#target.flush(token));
  }

  async trim(offsetBytes: number, lengthBytes: number): Promise<number> {
    return await this.#do((token) => this.#target.trim(token, offsetBytes, lengthBytes, false));
  }

  async #do(submit: (token: number) => void): Promise<number> {
    const token = this.#token++;
    const done = new Promise<number>((resolve) => this.#waiting.set(token, resolve));
    this.#rig.inTurn(() => submit(token));
    return await this.#rig.run(done);
  }
}
