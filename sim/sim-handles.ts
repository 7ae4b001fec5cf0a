/** What the descriptors of a simulated process stand for. */

import { assert } from '../src/lib/assert.ts';
import type { SimDisk } from './sim-disk.ts';
import type { SimSocketEnd } from './sim-sockets.ts';

type DiskHandle = {
  readonly kind: 'disk';
  readonly disk: SimDisk;
  readonly direct: boolean;
  readonly readOnly: boolean;
  /** What `disk.lock` is while this descriptor holds the exclusive lock: like flock's, it is the descriptor's, not the process's. */
  readonly lock: object | undefined;
};
type SocketHandle = { readonly kind: 'socket'; readonly end: SimSocketEnd };
type ListenerHandle = { readonly kind: 'listener'; readonly path: string };
export type OpenHandle = DiskHandle | SocketHandle | ListenerHandle;

export type Handle = OpenHandle & {
  inFlight: number;
  /** Called when the last operation has ended, once the descriptor is to be closed. */
  onIdle: (() => void) | undefined;
};

export class SimHandles {
  readonly #byFd = new Map<number, Handle>();
  #nextFd = 3;
  readonly #onClosed: (handle: Handle) => void;

  constructor(onClosed: (handle: Handle) => void) {
    this.#onClosed = onClosed;
  }

  open(handle: OpenHandle): number {
    const fd = this.#nextFd++;
    this.#byFd.set(fd, { ...handle, inFlight: 0, onIdle: undefined });
    return fd;
  }

  /** The open descriptor `fd`, also while it is being closed. */
  get(fd: number): Handle | undefined {
    return this.#byFd.get(fd);
  }

  /** The descriptor `fd` where it takes operations: open and not being closed. */
  usable(fd: number): Handle | undefined {
    const handle = this.#byFd.get(fd);
    return handle?.onIdle === undefined ? handle : undefined;
  }

  /** Whether there was such a descriptor. */
  close(fd: number): boolean {
    const handle = this.#byFd.get(fd);
    if (handle === undefined) return false;
    assert(handle.inFlight === 0, 'a descriptor is closed when nothing is in flight on it');
    this.#byFd.delete(fd);
    this.#onClosed(handle);
    return true;
  }

  /** An operation on `handle` has ended. */
  release(handle: Handle): void {
    handle.inFlight--;
    if (handle.inFlight === 0) handle.onIdle?.();
  }

  all(): Iterable<Handle> {
    return this.#byFd.values();
  }
}
