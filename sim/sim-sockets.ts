/** Sockets between simulated processes, of unix and over TCP: streams of bytes with a bounded buffer each way. Nothing gets lost in them. */

import {
  EADDRINUSE,
  EAGAIN,
  EBADF,
  ECANCELED,
  ECONNREFUSED,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  EPIPE,
  ErrnoError,
} from '../src/model/errno.ts';
import { type SocketAddress, type TcpAddress, socketAddressOf } from '../src/env/tcp-address.ts';
import type { Handle } from './sim-handles.ts';

/** Bytes that wait in one direction: small, so that short sends happen. */
const BUFFER_BYTES = 64 * 1024;
/** sockaddr_un holds 108 bytes, the last of them zero. */
const PATH_BYTES_MAX = 107;
/** The first port that is given where none is asked for. */
const PORT_FIRST = 49_152;

/** An operation on a socket. `handle` is undefined for a descriptor that is not open. */
export type SocketTag = {
  readonly handle: Handle | undefined;
  readonly later: (run: () => void) => void;
  readonly done: (result: number) => void;
};

export type SimSocketEnd = {
  /** Received and not yet read. */
  readonly inbox: Uint8Array[];
  inboxBytes: number;
  peer: SimSocketEnd | undefined;
  closed: boolean;
  receiver: { readonly tag: SocketTag; readonly into: Uint8Array } | undefined;
  sender: { readonly tag: SocketTag; readonly views: readonly Uint8Array[] } | undefined;
};

type Listener = {
  readonly backlog: SimSocketEnd[];
  acceptor: { readonly tag: SocketTag; readonly adopt: (end: SimSocketEnd) => number } | undefined;
};

export class SimSockets {
  /** By path, or by address and port. Undefined: the file that a listener left behind, or a port that is free again. */
  readonly #listeners = new Map<string, Listener | undefined>();
  readonly #isFile: (path: string) => boolean;
  #nextPort = PORT_FIRST;

  /** `isFile` tells of the paths where something other than a socket is. */
  constructor(isFile: (path: string) => boolean) {
    this.#isFile = isFile;
  }

  listen(path: string): void {
    const fail = (errno: number): never => {
      throw new ErrnoError({ errno, syscall: 'listen', path });
    };
    if (path.length > PATH_BYTES_MAX) fail(ENAMETOOLONG);
    if (this.#isFile(path) || this.#listeners.get(path) !== undefined) fail(EADDRINUSE);
    this.#listeners.set(path, { backlog: [], acceptor: undefined });
  }

  /** Returns the port, and what its listener is called. */
  listenTcp(address: TcpAddress): { readonly port: number; readonly path: string } {
    if (socketAddressOf(address) === undefined) {
      throw new ErrnoError({ errno: EINVAL, syscall: 'bind', path: address.host });
    }
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    const path = nameOf({ ...address, port });
    this.listen(path);
    return { port, path };
  }

  /** Removes a socket's file; whether there was one. Who listens on it hears of nobody any more. */
  remove(path: string): boolean {
    return this.#listeners.delete(path);
  }

  accept(tag: SocketTag, adopt: (end: SimSocketEnd) => number): void {
    const listener =
      tag.handle?.kind === 'listener' ? this.#listeners.get(tag.handle.path) : undefined;
    if (listener === undefined) tag.done(-EBADF);
    else if (listener.acceptor !== undefined) tag.done(-EADDRINUSE);
    else {
      listener.acceptor = { tag, adopt };
      this.#matchAccept(listener);
    }
  }

  connect(
    to: SocketAddress,
    on: {
      readonly later: (run: () => void) => void;
      readonly done: (end: SimSocketEnd | undefined, errno: number) => void;
    },
  ): void {
    const path = nameOf(to);
    on.later(() => {
      const listener = this.#listeners.get(path);
      if (listener === undefined) {
        on.done(undefined, this.#refusal(to));
        return;
      }
      const [near, far] = pair();
      listener.backlog.push(far);
      on.done(near, 0);
      this.#matchAccept(listener);
    });
  }

  /** Why nobody can connect to `path`. */
  #refusal(path: SocketAddress): number {
    if (typeof path !== 'string') {
      return socketAddressOf(path) === undefined ? EINVAL : ECONNREFUSED;
    }
    if (path.length > PATH_BYTES_MAX) return ENAMETOOLONG;
    return this.#listeners.has(path) || this.#isFile(path) ? ECONNREFUSED : ENOENT;
  }

  #matchAccept(listener: Listener): void {
    const { acceptor } = listener;
    const end = listener.backlog[0];
    if (acceptor === undefined || end === undefined) return;
    listener.backlog.shift();
    listener.acceptor = undefined;
    acceptor.tag.later(() => acceptor.tag.done(acceptor.adopt(end)));
  }

  receive(tag: SocketTag, into: Uint8Array): void {
    const end = tag.handle?.kind === 'socket' ? tag.handle.end : undefined;
    if (end === undefined) tag.done(-EBADF);
    else {
      end.receiver = { tag, into };
      tag.later(() => this.#moveTo(end));
    }
  }

  send(tag: SocketTag, views: readonly Uint8Array[]): void {
    const end = tag.handle?.kind === 'socket' ? tag.handle.end : undefined;
    if (end === undefined) tag.done(-EBADF);
    else {
      end.sender = { tag, views };
      tag.later(() => this.#moveFrom(end));
    }
  }

  trySend(end: SimSocketEnd, views: readonly Uint8Array[]): number {
    if (end.peer === undefined || end.peer.closed) return -EPIPE;
    const taken = this.#take(end.peer, views);
    return taken === 0 ? -EAGAIN : taken;
  }

  #take(peer: SimSocketEnd, views: readonly Uint8Array[]): number {
    let taken = 0;
    for (const view of views) {
      const count = Math.min(view.length, BUFFER_BYTES - peer.inboxBytes);
      if (count === 0) break;
      peer.inbox.push(view.slice(0, count));
      peer.inboxBytes += count;
      taken += count;
    }
    if (taken > 0) peer.receiver?.tag.later(() => this.#moveTo(peer));
    return taken;
  }

  #moveFrom(end: SimSocketEnd): void {
    const { sender } = end;
    if (sender === undefined) return;
    const { peer } = end;
    const result = peer === undefined || peer.closed ? -EPIPE : this.#take(peer, sender.views);
    if (result === 0) return;
    end.sender = undefined;
    sender.tag.done(result);
  }

  #moveTo(end: SimSocketEnd): void {
    const { receiver } = end;
    if (receiver === undefined) return;
    const first = end.inbox[0];
    if (first === undefined) {
      if (end.peer !== undefined && !end.peer.closed) return;
      end.receiver = undefined;
      receiver.tag.done(0);
      return;
    }
    end.receiver = undefined;
    const count = Math.min(first.length, receiver.into.length);
    receiver.into.set(first.subarray(0, count));
    if (count === first.length) end.inbox.shift();
    else end.inbox[0] = first.subarray(count);
    end.inboxBytes -= count;
    receiver.tag.done(count);
    const { peer } = end;
    peer?.sender?.tag.later(() => this.#moveFrom(peer));
  }

  /** The descriptor is being closed: what waits on it ends. */
  cancel(handle: Handle): void {
    if (handle.kind === 'disk') return;
    if (handle.kind === 'listener') {
      const listener = this.#listeners.get(handle.path);
      const acceptor = listener?.acceptor;
      if (listener !== undefined) listener.acceptor = undefined;
      acceptor?.tag.done(-ECANCELED);
      return;
    }
    const { receiver, sender } = handle.end;
    handle.end.receiver = undefined;
    handle.end.sender = undefined;
    receiver?.tag.done(-ECANCELED);
    sender?.tag.done(-ECANCELED);
  }

  closed(handle: Handle): void {
    if (handle.kind === 'listener') {
      for (const end of this.#listeners.get(handle.path)?.backlog ?? []) this.#end(end);
      this.#listeners.set(handle.path, undefined);
    }
    if (handle.kind === 'socket') this.#end(handle.end);
  }

  #end(end: SimSocketEnd): void {
    end.closed = true;
    const { peer } = end;
    if (peer === undefined) return;
    peer.receiver?.tag.later(() => this.#moveTo(peer));
    peer.sender?.tag.later(() => this.#moveFrom(peer));
  }
}

function nameOf(address: SocketAddress): string {
  return typeof address === 'string' ? address : `tcp:${String(socketAddressOf(address))}`;
}

function makeEnd(): SimSocketEnd {
  return {
    inbox: [],
    inboxBytes: 0,
    peer: undefined,
    closed: false,
    receiver: undefined,
    sender: undefined,
  };
}

function pair(): [SimSocketEnd, SimSocketEnd] {
  const near = makeEnd();
  const far = makeEnd();
  near.peer = far;
  far.peer = near;
  return [near, far];
}
