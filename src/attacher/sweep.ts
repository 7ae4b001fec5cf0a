/**
 * Undoes what a dead run left in the machine, as far as `made.jsonl` records it as ours, and nothing else: each thing is
 * looked at again, and touched only if it still is what was recorded.
 *
 * The order is that of dependence: first the FUSE connections are ended, so that nothing below waits for a server that is
 * gone; then file systems, devices, FUSE mounts, sockets.
 */

import { lstatSync, rmSync } from 'node:fs';

import { type KernelCalls, UNMOUNT_DETACH, openKernelCalls } from '../env/linux/kernel-calls.ts';
import { LoopDevices, backingOf } from '../env/linux/loop-device.ts';
import { openRawSockets } from '../env/linux/raw-sockets.ts';
import { EBUSY } from '../model/errno.ts';
import { formatDisconnect } from '../wire/netlink/nbd-netlink.ts';
import { abortFuse } from './fuse-mount.ts';
import { isServed } from './line-server.ts';
import { removeEmpty, removeMadeDirectories } from './made-directories.ts';
import { type Made, MadeLog } from './made-log.ts';
import { mountAt } from './mount-table.ts';
import { command, findByBackend, findNbdFamily } from './nbd-control.ts';
import { isAlive } from './process-identity.ts';

/** An unmount that waits longer is done lazily: its device fails all I/O, so what it waits for is a process. */
const UNMOUNT_MS = 5000;

export type SweepReport = {
  /** What was there and is gone, in the order in which it was undone. */
  readonly undone: readonly Made[];
  /** What is still there, with the reason. */
  readonly left: readonly { readonly made: Made; readonly reason: string }[];
};

export type SweepOptions = {
  /**
   * `run`: all that is recorded. `attacher`: what a dead attacher's death left useless: its FUSE mounts, its loop devices and the
   * file systems mounted from them. Kernel nbd devices live on; the next attacher takes them over.
   */
  readonly scope: 'run' | 'attacher';
};

/** Sweeps the run directory of a dead run, or after a dead attacher. Things whose maker still runs are left, and reported. */
export async function sweepLeftovers(runDir: string, options: SweepOptions): Promise<SweepReport> {
  const log = new MadeLog(runDir);
  const entries = chosen(log.entries(), options);
  const sweep = new Sweep(log, entries);
  for (const made of entries) await sweep.abort(made);
  for (const kind of ['mount', 'loop', 'nbd', 'fuse', 'socket'] as const) {
    for (const made of entries.toReversed()) if (made.kind === kind) await sweep.undo(made);
  }
  if (options.scope === 'run' && log.entries().length === 0) log.remove();
  return { undone: sweep.undone, left: sweep.left };
}

/**
 * Ends the FUSE connections whose makers are dead or dying. A maker that is killed in a call to the kernel which its own answer would
 * end (LOOP_CONFIGURE flushes the file) is a zombie with a thread in the kernel for ever, and whoever opens that loop device hangs too.
 */
export async function abortDying(runDir: string): Promise<void> {
  const log = new MadeLog(runDir);
  const entries = log.entries();
  const sweep = new Sweep(log, entries);
  for (const made of entries) await sweep.abort(made);
}

function chosen(entries: readonly Made[], options: SweepOptions): readonly Made[] {
  if (options.scope === 'run') return entries;
  const devices = new Set<string>();
  for (const made of entries) {
    if (made.kind === 'loop' && !isAlive(made.maker)) devices.add(made.device);
  }
  return entries.filter((made) => {
    if (made.kind === 'mount') return devices.has(made.device);
    return (made.kind === 'fuse' || made.kind === 'loop') && !isAlive(made.maker);
  });
}

class Sweep {
  readonly undone: Made[] = [];
  readonly left: { made: Made; reason: string }[] = [];
  readonly #log: MadeLog;
  /** Devices whose maker still runs: what is mounted from them is in use. */
  readonly #served = new Set<string>();
  #calls: KernelCalls | undefined;

  constructor(log: MadeLog, entries: readonly Made[]) {
    this.#log = log;
    for (const made of entries) {
      if (made.kind === 'loop' && isAlive(made.maker)) this.#served.add(made.device);
    }
  }

  /** Looked up when first needed: a sweep that finds nothing of the kernel's needs no FFI. */
  get #kernel(): KernelCalls {
    this.#calls ??= openKernelCalls();
    return this.#calls;
  }

  /** Ends the connection of a dead server's FUSE mount. Its descriptors may be open still, in a process that is dying. */
  async abort(made: Made): Promise<void> {
    if (made.kind !== 'fuse' || isAlive(made.maker) || !isFuseOurs(made)) return;
    await abortFuse(this.#kernel, made.path);
  }

  async undo(made: Made): Promise<void> {
    if ('maker' in made && isAlive(made.maker)) {
      this.left.push({ made, reason: `process ${made.maker.pid}, which made it, still runs` });
      return;
    }
    if (made.kind === 'mount' && this.#served.has(made.device)) {
      this.left.push({ made, reason: `"${made.device}" is still served` });
      return;
    }
    try {
      const reason = await this.#undo(made);
      if (reason === undefined) this.#log.forget(made);
      else this.left.push({ made, reason });
    } catch (error) {
      this.left.push({ made, reason: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Undoes what is there and ours. Returns why it is still there. */
  async #undo(made: Made): Promise<string | undefined> {
    switch (made.kind) {
      case 'mount':
        return this.#undoMount(made);
      case 'loop':
        return this.#undoLoop(made);
      case 'fuse':
        return this.#undoFuse(made);
      case 'nbd':
        return this.#undoNbd(made);
      case 'socket':
        return this.#undoSocket(made);
    }
  }

  async #undoMount(made: Extract<Made, { kind: 'mount' }>): Promise<string | undefined> {
    const mount = mountAt(made.path);
    if (mount !== undefined && mount.source === made.device) {
      let errno = await within(UNMOUNT_MS, this.#kernel.unmount(made.path, 0));
      // Processes that sit in it keep it, detached, and see errors; the path is free again.
      if (errno === EBUSY) errno = await this.#kernel.unmount(made.path, UNMOUNT_DETACH);
      if (errno !== 0) return `unmounting failed (errno ${errno})`;
      this.undone.push(made);
    }
    removeMadeDirectories(this.#log, made);
    return undefined;
  }

  async #undoLoop(made: Extract<Made, { kind: 'loop' }>): Promise<string | undefined> {
    if (backingOf(made.device) !== made.backing) return undefined;
    // While a process keeps a detached file system of it, the kernel frees the device later, by itself.
    await new LoopDevices(this.#kernel).clear(made.device);
    this.undone.push(made);
    return undefined;
  }

  async #undoFuse(made: Extract<Made, { kind: 'fuse' }>): Promise<string | undefined> {
    if (isFuseOurs(made)) {
      const errno = await this.#kernel.unmount(made.path, UNMOUNT_DETACH);
      if (errno !== 0) return `unmounting failed (errno ${errno})`;
      this.undone.push(made);
    }
    const point = lstatSync(made.path, { throwIfNoEntry: false });
    if (point?.isFile() === true && point.size === 0) rmSync(made.path);
    return undefined;
  }

  async #undoNbd(made: Extract<Made, { kind: 'nbd' }>): Promise<string | undefined> {
    const device = findByBackend(made.backend);
    if (device === undefined || `/dev/nbd${device.index}` !== made.device) return undefined;
    const sockets = openRawSockets();
    const family = findNbdFamily(sockets);
    if (family === undefined) return 'the nbd driver does not answer';
    const target = { family, index: device.index, backend: made.backend };
    const errno = command(sockets, formatDisconnect(target));
    if (errno !== 0) return `disconnecting failed (errno ${errno})`;
    this.undone.push(made);
    return undefined;
  }

  async #undoSocket(made: Extract<Made, { kind: 'socket' }>): Promise<string | undefined> {
    if (lstatSync(made.path, { throwIfNoEntry: false })?.isSocket() === true) {
      if (await isServed(made.path)) return 'somebody listens on it';
      rmSync(made.path, { force: true });
      this.undone.push(made);
    }
    for (const folder of made.parents?.toReversed() ?? []) removeEmpty(folder);
    return undefined;
  }
}

function isFuseOurs(made: Extract<Made, { kind: 'fuse' }>): boolean {
  const mount = mountAt(made.path);
  return mount !== undefined && mount.type.startsWith('fuse') && mount.source === made.source;
}

/** The result, or EBUSY if it takes longer; the call goes on by itself. */
function within(limitMs: number, result: Promise<number>): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<number>((resolve) => {
    timer = setTimeout(() => resolve(EBUSY), limitMs);
  });
  return Promise.race([result, late]).finally(() => clearTimeout(timer));
}
