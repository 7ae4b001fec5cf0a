/**
 * An attached volume as a loop device over a FUSE file, for kernels without nbd.
 *
 * The loop device does direct I/O on the file, and the file is open with FOPEN_DIRECT_IO: no page cache lies below the
 * device's own. A flush of the block layer becomes an fsync of the file, thus a FSYNC request, thus an NBD FLUSH.
 *
 * LO_FLAGS_AUTOCLEAR is not set. It needs a descriptor of the device held open here, and when a killed process's descriptors
 * are closed, closing the device (which writes its cache back) may come before closing /dev/fuse (which fails what is written):
 * a process that waits for itself. Without it a dead attacher leaves a device that fails all I/O, and sweep.ts removes it.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { KernelCalls } from '../env/linux/kernel-calls.ts';
import { type LoopDevices, backingOf } from '../env/linux/loop-device.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  type AttachSpec,
  type AttachedDevice,
  type DeviceHandover,
  type InheritedDevice,
  SECTOR_BYTES,
} from './attached-device.ts';
import type { Berths } from './berths.ts';
import type { ClientState } from './client-state.ts';
import { assertUnused } from './device-use.ts';
import { FuseMount } from './fuse-mount.ts';
import { FuseVolume } from './fuse-volume.ts';
import type { Made, MadeLog } from './made-log.ts';
import type { ProcessIdentity } from './process-identity.ts';

/** An attach is asked for when the engine serves; one that restarts just then is back within 2 s. */
const FIRST_CONNECT_MS = 10_000;
const FIRST_CONNECT_POLL_MS = 5;
/** Programs that look at new devices (udev, blkid) keep them open for some ms. */
const CLEAR_WAIT_MS = 5000;
const CLEAR_POLL_MS = 20;

export type FuseLoopParts = {
  readonly calls: KernelCalls;
  readonly loops: LoopDevices;
  readonly berths: Berths;
  readonly made: MadeLog;
  readonly maker: ProcessIdentity;
  /** Where the FUSE files are mounted; made if missing. */
  readonly fuseDir: string;
  /** Not a timer of Node's own: those are late while a reactor waits. */
  readonly sleep: (delayMs: number) => Promise<void>;
  readonly onState: (attachId: string, state: ClientState) => void;
};

/** The source of a volume's FUSE mount, by which a sweep knows it again, and its loop device's lo_file_name. */
export const ownLabel = (attachId: string): string => `holdfast:${attachId}`;

type Held = { readonly mount: FuseMount; readonly volume: FuseVolume; readonly fuseMade: Made };

export class FuseLoop implements AttachedDevice {
  readonly kind = 'fuse-loop';
  readonly device: string;
  readonly #parts: FuseLoopParts;
  readonly #held: Held;
  readonly #loopMade: Made;
  #spec: AttachSpec;

  private constructor(
    parts: FuseLoopParts,
    made: { readonly spec: AttachSpec; readonly held: Held; readonly device: string },
  ) {
    this.#parts = parts;
    this.#spec = made.spec;
    this.#held = made.held;
    this.device = made.device;
    this.#loopMade = loopMade(parts, made.device, made.spec.attachId);
  }

  /** Attaches. Throws, and leaves nothing, where it fails. `ending`: making the device flushes it, and where I/O stands still that is to fail. */
  static async open(
    parts: FuseLoopParts,
    spec: AttachSpec,
    ending: AbortSignal,
  ): Promise<FuseLoop> {
    const held = await openFuse(parts, spec);
    const giveUp = (): void => void held.volume.giveUp('it was detached by force');
    ending.addEventListener('abort', giveUp);
    try {
      if (ending.aborted) giveUp();
      await firstConnect(parts, held.volume, spec);
      const device = await takeLoop(parts, held.mount, spec);
      return new FuseLoop(parts, { spec, held, device });
    } catch (error) {
      await closeFuse(parts, held, { force: true });
      throw error;
    } finally {
      ending.removeEventListener('abort', giveUp);
    }
  }

  /**
   * Goes on with a device of another process, whose descriptor of /dev/fuse this one has inherited as `fd`. Serves only after
   * {@link DeviceHandover.serve}. Throws, and has changed nothing, where it fails.
   */
  static takeOver(parts: FuseLoopParts, { spec, device, fd }: InheritedDevice): FuseLoop {
    const mount = new FuseMount(parts.calls, { path: fusePath(parts, spec.attachId), fd });
    const fuseMade = madeFuse(parts, spec.attachId);
    const volume = takeBerth(parts, spec, fd);
    if (volume === undefined) throw noRoom();
    volume.connect();
    return new FuseLoop(parts, { spec, held: { mount, volume, fuseMade }, device });
  }

  get spec(): AttachSpec {
    return this.#spec;
  }

  get handover(): DeviceHandover {
    const { mount, volume, fuseMade } = this.#held;
    return {
      fd: mount.fd,
      pause: async () => {
        const paused = volume.pause();
        // The read that waits already gets this, if nothing else comes. What comes first lets this wait for whoever serves next.
        mount.refresh().catch(() => {});
        await paused;
      },
      record: () => {
        this.#parts.made.record(fuseMade);
        this.#parts.made.record(this.#loopMade);
      },
      serve: () => volume.serve(),
    };
  }

  get state(): ClientState {
    return this.#held.volume.client.state;
  }

  get connectCount(): number {
    return this.#held.volume.client.connectCount;
  }

  async resize(sizeBytes: number): Promise<void> {
    this.#held.volume.resize(sizeBytes);
    this.#spec = { ...this.#spec, sizeBytes };
    await this.#held.mount.refresh();
    await this.#parts.loops.updateCapacity(this.device);
  }

  giveUp(): Promise<void> {
    return this.#held.volume.giveUp('it was detached by force');
  }

  async detach(options: { readonly force: boolean }): Promise<void> {
    const { loops, made } = this.#parts;
    if (!options.force) await assertUnused(this.device);
    await loops.clear(this.device);
    await this.#waitUntilClear(options);
    made.forget(this.#loopMade);
    await closeFuse(this.#parts, this.#held, options);
  }

  async #waitUntilClear(options: { readonly force: boolean }): Promise<void> {
    for (let waitedMs = 0; waitedMs < CLEAR_WAIT_MS; waitedMs += CLEAR_POLL_MS) {
      if (backingOf(this.device) !== this.#held.mount.path) return;
      await this.#parts.sleep(CLEAR_POLL_MS);
    }
    if (options.force) return;
    throw new Refusal('ATTACHER_REFUSED', {
      call: 'detach',
      problem: `another process has "${this.device}" open`,
    });
  }
}

const loopMade = (parts: FuseLoopParts, device: string, attachId: string): Made => ({
  kind: 'loop',
  device,
  backing: fusePath(parts, attachId),
  maker: parts.maker,
});

const fusePath = (parts: FuseLoopParts, attachId: string): string => join(parts.fuseDir, attachId);

const madeFuse = (parts: FuseLoopParts, attachId: string): Made => ({
  kind: 'fuse',
  path: fusePath(parts, attachId),
  source: ownLabel(attachId),
  maker: parts.maker,
});

function takeBerth(parts: FuseLoopParts, spec: AttachSpec, fd: number): FuseVolume | undefined {
  const onState = (state: ClientState): void => parts.onState(spec.attachId, state);
  const exportName = spec.attachId;
  return parts.berths.take((berth) => new FuseVolume(berth, { ...spec, exportName, fd, onState }));
}

const noRoom = (): Refusal =>
  new Refusal('ATTACHER_REFUSED', {
    call: 'attach',
    problem: 'it has no room for more volumes',
  });

async function openFuse(parts: FuseLoopParts, spec: AttachSpec): Promise<Held> {
  await mkdir(parts.fuseDir, { recursive: true, mode: 0o700 });
  const fuseMade = madeFuse(parts, spec.attachId);
  parts.made.record(fuseMade);
  let mount: FuseMount;
  try {
    mount = await FuseMount.open(parts.calls, {
      path: fusePath(parts, spec.attachId),
      source: ownLabel(spec.attachId),
      ioKind: parts.berths.io.kind,
    });
  } catch (error) {
    parts.made.forget(fuseMade);
    throw error;
  }
  const volume = takeBerth(parts, spec, mount.fd);
  if (volume === undefined) {
    await mount.unmount({ force: true });
    await mount.close();
    parts.made.forget(fuseMade);
    throw noRoom();
  }
  volume.start();
  return { mount, volume, fuseMade };
}

async function closeFuse(
  parts: FuseLoopParts,
  held: Held,
  options: { readonly force: boolean },
): Promise<void> {
  await held.mount.unmount(options);
  await held.volume.giveUp('it was detached');
  await held.volume.ended();
  parts.berths.give(held.volume);
  await held.mount.close();
  parts.made.forget(held.fuseMade);
}

/** A device whose volume nobody serves would hang whoever looks at it: so the first connection comes first. */
async function firstConnect(
  parts: FuseLoopParts,
  volume: FuseVolume,
  spec: AttachSpec,
): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += FIRST_CONNECT_POLL_MS) {
    const { state } = volume.client;
    if (state.kind === 'serving') return;
    if (state.kind === 'ended' || waitedMs >= FIRST_CONNECT_MS) {
      const problem = `at "${spec.socketPath}" ${state.problem}`;
      throw new Fault('ENGINE_UNREACHABLE', { problem });
    }
    await parts.sleep(FIRST_CONNECT_POLL_MS);
  }
}

async function takeLoop(parts: FuseLoopParts, mount: FuseMount, spec: AttachSpec): Promise<string> {
  // Linux before 6.10 makes the device as large as it last heard the file to be: nothing, until somebody asks.
  await mount.refresh();
  const file = await mount.openFile();
  let tried: Made | undefined;
  try {
    const device = await parts.loops.configure({
      fd: file.fd,
      sectorBytes: SECTOR_BYTES,
      label: ownLabel(spec.attachId),
      beforeTake: (candidate) => {
        if (tried !== undefined) parts.made.forget(tried);
        tried = loopMade(parts, candidate, spec.attachId);
        parts.made.record(tried);
      },
    });
    return device;
  } catch (error) {
    if (tried !== undefined) parts.made.forget(tried);
    throw error;
  } finally {
    // The device has a reference of its own.
    await file.close();
  }
}
