/**
 * An attached volume as a device of the kernel's nbd driver. The driver holds the socket and speaks NBD itself; this process
 * connects, and gives it a new socket when the engine restarts. Meanwhile the driver keeps the requests.
 *
 * The device outlives this process: the next one takes it over by its backend identifier, which is the attach id.
 */

import { closeSync } from 'node:fs';

import { type RawSockets, openRawSockets } from '../env/linux/raw-sockets.ts';
import { assert } from '../lib/assert.ts';
import { EBUSY } from '../model/errno.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  formatConnect,
  formatDisconnect,
  formatReconnect,
  formatResize,
  type NbdTarget,
} from '../wire/netlink/nbd-netlink.ts';
import {
  type AttachSpec,
  type AttachedDevice,
  type DeviceHandover,
  type InheritedDevice,
  SECTOR_BYTES,
} from './attached-device.ts';
import { type ClientState, nextState } from './client-state.ts';
import { assertUnused } from './device-use.ts';
import type { Made, MadeLog } from './made-log.ts';
import { type Connected, connectNbd } from './nbd-connect.ts';
import {
  check,
  command,
  findByBackend,
  findNbdFamily,
  listNbdDevices,
  setRetryMs,
} from './nbd-control.ts';

/** A year: requests wait for the engine as long as it takes. */
const DEAD_SECONDS = 31_536_000;
const RETRY_MS = 1000;
const BACKOFF_MS_FIRST = 10;
const BACKOFF_MS_MAX = 250;
/** The driver takes a new socket only once it has seen the old one die, and does not say if it did: so it is offered again. */
const OFFER_DELAYS_MS: readonly number[] = [50, 200, 1000];
/** A socket's end wakes the wait at once; only one that came meanwhile, and the end of the device, wait for its limit. */
const WATCH_MS = 1000;
/** An attach is asked for when the engine serves; one that restarts just then is back within 2 s. */
const FIRST_CONNECT_MS = 10_000;
/** Numbers that are tried for a new device: the driver makes those that it does not have yet. */
const INDEX_LIMIT = 1024;

export type KernelNbdParts = {
  readonly made: MadeLog;
  readonly sleep: (delayMs: number) => Promise<void>;
  readonly onState: (attachId: string, state: ClientState) => void;
};

/** Whether the driver is there and can be asked. */
export function hasKernelNbd(): boolean {
  return findNbdFamily(openRawSockets()) !== undefined;
}

export class KernelNbd implements AttachedDevice {
  readonly kind = 'kernel-nbd';
  readonly device: string;
  readonly #parts: KernelNbdParts;
  readonly #sockets: RawSockets;
  readonly #target: NbdTarget;
  #spec: AttachSpec;
  #state: ClientState;
  #connectCount = 1;
  #socket: number;
  #stopping = false;
  readonly #watching: Promise<void>;

  private constructor(
    parts: KernelNbdParts,
    options: {
      readonly sockets: RawSockets;
      readonly target: NbdTarget;
      readonly spec: AttachSpec;
      readonly socket: number;
    },
  ) {
    this.#parts = parts;
    this.#sockets = options.sockets;
    this.#target = options.target;
    this.#spec = options.spec;
    this.#socket = options.socket;
    this.device = deviceOf(options.target.index);
    this.#state = { kind: 'serving', sinceMs: performance.now() };
    parts.onState(options.spec.attachId, this.#state);
    this.#watching = this.#watch();
  }

  /** Attaches, or takes over the device that an earlier process made. Throws, and leaves nothing, where it fails. */
  static async open(parts: KernelNbdParts, spec: AttachSpec): Promise<KernelNbd> {
    const sockets = openRawSockets();
    const family = findNbdFamily(sockets);
    if (family === undefined) {
      throw new Refusal('MOUNT_IMPOSSIBLE', { problem: 'the kernel has no nbd driver loaded' });
    }
    const connected = await firstConnect(parts, sockets, spec);
    const known = findByBackend(spec.attachId);
    try {
      const target =
        known === undefined
          ? makeDevice(parts, { sockets, family, spec, connected })
          : { family, index: known.index, backend: spec.attachId };
      const device = new KernelNbd(parts, { sockets, target, spec, socket: connected.fd });
      if (known !== undefined) await device.#offer();
      return device;
    } catch (error) {
      closeSync(connected.fd);
      throw error;
    }
  }

  /** Goes on with a device of another process, whose socket this one has inherited. */
  static takeOver(parts: KernelNbdParts, { spec, device, fd }: InheritedDevice): KernelNbd {
    const sockets = openRawSockets();
    const family = findNbdFamily(sockets);
    assert(family !== undefined, 'the kernel has no device without its driver');
    const target = { family, index: Number(device.slice(DEVICE.length)), backend: spec.attachId };
    return new KernelNbd(parts, { sockets, target, spec, socket: fd });
  }

  get spec(): AttachSpec {
    return this.#spec;
  }

  /** The driver speaks to the engine by itself: there is nothing to wait for. */
  get handover(): DeviceHandover {
    return {
      fd: this.#socket,
      pause: () => Promise.resolve(),
      record: () => this.#parts.made.record(madeOf(this.#target)),
      serve: () => {},
    };
  }

  get state(): ClientState {
    return this.#state;
  }

  get connectCount(): number {
    return this.#connectCount;
  }

  async resize(sizeBytes: number): Promise<void> {
    check(
      command(this.#sockets, formatResize(this.#target, sizeBytes)),
      'NBD_CMD_RECONFIGURE',
      this.device,
    );
    this.#spec = { ...this.#spec, sizeBytes };
  }

  giveUp(): Promise<void> {
    this.#stopping = true;
    this.#disconnect();
    return Promise.resolve();
  }

  async detach(options: { readonly force: boolean }): Promise<void> {
    if (!options.force) await assertUnused(this.device);
    await this.giveUp();
    await this.#watching;
    this.#parts.made.forget(madeOf(this.#target));
  }

  /** Follows the socket's life: each end is followed by a new one, until the engine knows the attachment no more. */
  async #watch(): Promise<void> {
    while (!this.#stopping) {
      const ended = await this.#sockets.pollEnded([this.#socket], WATCH_MS);
      if (ended.length === 0 || this.#stopping) continue;
      // Whatever ended it, the driver shall see it too.
      this.#sockets.shutdown(this.#socket);
      this.#setState({
        kind: 'waiting',
        problem: 'it ended the connection',
        sinceMs: performance.now(),
      });
      await this.#reconnect();
    }
    closeSync(this.#socket);
  }

  async #reconnect(): Promise<void> {
    for (let backoffMs = BACKOFF_MS_FIRST; !this.#stopping;) {
      const connected = await connectNbd(this.#sockets, this.#spec);
      if (connected.kind === 'connected') {
        closeSync(this.#socket);
        this.#socket = connected.fd;
        this.#connectCount += 1;
        try {
          await this.#offer();
        } catch (error) {
          this.#end(`the kernel took its device away: ${String(error)}`);
          return;
        }
        this.#setState({ kind: 'serving', sinceMs: performance.now() });
        return;
      }
      if (connected.kind === 'unknown') {
        this.#end('the engine no longer serves this attachment');
        return;
      }
      this.#setState({ kind: 'waiting', problem: connected.problem, sinceMs: performance.now() });
      await this.#parts.sleep(backoffMs);
      backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX);
    }
  }

  /** Gives the driver the socket. Offers that it has no use for change nothing. */
  async #offer(): Promise<void> {
    for (const delayMs of OFFER_DELAYS_MS) {
      const request = formatReconnect(this.#target, this.#socket);
      check(command(this.#sockets, request), 'NBD_CMD_RECONFIGURE', this.device);
      await this.#parts.sleep(delayMs);
    }
  }

  /** For good: every request fails. The device stays until it is detached, so that its number is nobody else's. */
  #end(problem: string): void {
    this.#stopping = true;
    this.#disconnect();
    this.#setState({ kind: 'ended', problem, sinceMs: performance.now() });
  }

  #disconnect(): void {
    if (findByBackend(this.#spec.attachId)?.index !== this.#target.index) return;
    check(
      command(this.#sockets, formatDisconnect(this.#target)),
      'NBD_CMD_DISCONNECT',
      this.device,
    );
  }

  #setState(state: ClientState): void {
    this.#state = nextState(this.#state, state);
    if (this.#state === state) this.#parts.onState(this.#spec.attachId, state);
  }
}

const DEVICE = '/dev/nbd';

const deviceOf = (index: number): string => `${DEVICE}${index}`;

const madeOf = (target: NbdTarget): Made => ({
  kind: 'nbd',
  device: deviceOf(target.index),
  backend: target.backend,
});

type Ready = Extract<Connected, { readonly kind: 'connected' }>;

async function firstConnect(
  parts: KernelNbdParts,
  sockets: RawSockets,
  spec: AttachSpec,
): Promise<Ready> {
  for (let waitedMs = 0; ; waitedMs += BACKOFF_MS_MAX) {
    const connected = await connectNbd(sockets, spec);
    if (connected.kind === 'connected') return connected;
    if (connected.kind === 'unknown' || waitedMs >= FIRST_CONNECT_MS) {
      const why =
        connected.kind === 'unknown' ? 'does not serve this attachment' : connected.problem;
      throw new Fault('ENGINE_UNREACHABLE', { problem: `at "${spec.socketPath}" ${why}` });
    }
    await parts.sleep(BACKOFF_MS_MAX);
  }
}

/** Makes a device of a socket, under the first number that nobody has. Throws what the driver says. */
export function makeDevice(
  parts: KernelNbdParts,
  options: {
    readonly sockets: RawSockets;
    readonly family: number;
    readonly spec: AttachSpec;
    readonly connected: Ready;
  },
): NbdTarget {
  const { sockets, family, spec, connected } = options;
  const taken = new Set(
    listNbdDevices()
      .filter((d) => d.connected)
      .map((d) => d.index),
  );
  for (let index = 0; index < INDEX_LIMIT; index += 1) {
    if (taken.has(index)) continue;
    const target = { family, index, backend: spec.attachId };
    parts.made.record(madeOf(target));
    const errno = command(
      sockets,
      formatConnect(target, {
        socket: connected.fd,
        sizeBytes: spec.sizeBytes,
        sectorBytes: SECTOR_BYTES,
        flags: connected.export.flags,
        deadSeconds: DEAD_SECONDS,
      }),
    );
    if (errno === 0) {
      setRetryMs(index, RETRY_MS);
      return target;
    }
    parts.made.forget(madeOf(target));
    // Somebody else was faster.
    if (errno !== EBUSY) check(errno, 'NBD_CMD_CONNECT', deviceOf(index));
  }
  throw new Refusal('ATTACHER_REFUSED', { call: 'attach', problem: 'all nbd devices are in use' });
}
