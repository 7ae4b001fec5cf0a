/**
 * Sockets for the Node maker of `env.io`: net.Server and net.Socket behind integer descriptors. Not fast; what
 * runs where io_uring is refused.
 */

import { Buffer } from 'node:buffer';
import net from 'node:net';

import {
  EAGAIN,
  EBADF,
  ECANCELED,
  EINVAL,
  ENAMETOOLONG,
  EPIPE,
  ErrnoError,
} from '../../model/errno.ts';
import type { TcpListener } from '../env.ts';
import { type SocketAddress, type TcpAddress, socketAddressOf } from '../tcp-address.ts';
import { errnoOf, toErrnoError } from './errno-of.ts';
import { removeStaleSocket } from './stale-socket.ts';

/** Descriptors of sockets start here, far above any that the system gives. */
export const SOCKET_FIRST: number = 1 << 24;
const SOCKET_PATH_BYTES_MAX = 107;
const SOCKET_UMASK = 0o177;
/** How long a closed socket may take to hand over what trySend took. */
const LINGER_MS = 1000;

/** Ends the operation `tag`. Never called inside the call that started it. */
export type Complete = (tag: number, result: number) => void;

type Receive = { readonly tag: number; readonly address: number; readonly lengthBytes: number };

type Connection = {
  readonly kind: 'connection';
  readonly socket: net.Socket;
  receive: Receive | undefined;
  sending: boolean;
  closing: boolean;
  ended: boolean;
  errno: number;
};

type Listener = {
  readonly kind: 'listener';
  readonly server: net.Server;
  readonly waiting: net.Socket[];
  /** Tags of accepts in flight, oldest first. */
  readonly accepts: number[];
};

export class NodeSockets {
  readonly #bytes: Uint8Array;
  readonly #complete: Complete;
  readonly #open = new Map<number, Connection | Listener>();
  #next = SOCKET_FIRST;

  /** `bytes` is the arena. */
  constructor(bytes: Uint8Array, complete: Complete) {
    this.#bytes = bytes;
    this.#complete = complete;
  }

  /** Listens at `path`, mode 0600, replacing a stale socket. Rejects with {@link ErrnoError}. */
  async listen(path: string): Promise<number> {
    if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
      throw new ErrnoError({ errno: ENAMETOOLONG, syscall: 'bind', path });
    }
    await removeStaleSocket(path);
    const server = net.createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(toErrnoError(error, 'bind', path)));
      server.once('listening', resolve);
      // The file is made within this call, so the mask is wrong for others for no time at all.
      const umask = process.umask(SOCKET_UMASK);
      server.listen(path);
      process.umask(umask);
    });
    return this.#addListener(server);
  }

  /** Listens over TCP. Rejects with {@link ErrnoError}. */
  async listenTcp(address: TcpAddress): Promise<TcpListener> {
    if (socketAddressOf(address) === undefined) {
      throw new ErrnoError({ errno: EINVAL, syscall: 'bind', path: address.host });
    }
    const server = net.createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(toErrnoError(error, 'bind', address.host)));
      server.listen(address, resolve);
    });
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    return { fd: this.#addListener(server), port };
  }

  #addListener(server: net.Server): number {
    const listener: Listener = { kind: 'listener', server, waiting: [], accepts: [] };
    server.on('connection', (socket) => {
      listener.waiting.push(socket);
      this.#acceptNext(listener);
    });
    return this.#add(listener);
  }

  accept(tag: number, fd: number): void {
    const listener = this.#open.get(fd);
    if (listener?.kind !== 'listener') {
      this.#complete(tag, -EBADF);
      return;
    }
    listener.accepts.push(tag);
    this.#acceptNext(listener);
  }

  connect(tag: number, to: SocketAddress): void {
    const refusal = refusalOfAddress(to);
    if (refusal !== 0) {
      this.#complete(tag, -refusal);
      return;
    }
    const socket = net.connect(
      typeof to === 'string'
        ? { path: to, allowHalfOpen: true }
        : { ...to, allowHalfOpen: true, noDelay: true },
    );
    const onError = (error: Error): void => this.#complete(tag, -errnoOf(error));
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      this.#complete(tag, this.#adopt(socket));
    });
  }

  receive(tag: number, fd: number, address: number, lengthBytes: number): void {
    const connection = this.#connection(fd);
    if (connection === undefined) {
      this.#complete(tag, -EBADF);
      return;
    }
    connection.receive = { tag, address, lengthBytes };
    this.#receiveNow(connection);
  }

  /** `views` are of the arena, at least one. */
  send(tag: number, fd: number, views: readonly Uint8Array[]): void {
    const connection = this.#connection(fd);
    const refusal = refusalOf(connection);
    if (connection === undefined || refusal !== 0) {
      this.#complete(tag, -refusal);
      return;
    }
    connection.sending = true;
    const { socket } = connection;
    let sizeBytes = 0;
    socket.cork();
    for (const [i, view] of views.entries()) {
      sizeBytes += view.length;
      if (i < views.length - 1) socket.write(view);
      else {
        socket.write(view, (error) => {
          connection.sending = false;
          if (!error) this.#complete(tag, sizeBytes);
          else this.#complete(tag, connection.closing ? -ECANCELED : -(connection.errno || EPIPE));
        });
      }
    }
    socket.uncork();
  }

  /** Takes a copy of everything, or nothing while an earlier copy is still on its way. */
  trySend(fd: number, views: readonly Uint8Array[]): number {
    const connection = this.#connection(fd);
    const refusal = refusalOf(connection);
    if (connection === undefined || refusal !== 0) return -refusal;
    if (connection.socket.writableLength > 0) return -EAGAIN;
    const copy = Buffer.concat(views);
    connection.socket.write(copy);
    return copy.length;
  }

  close(tag: number, fd: number): void {
    const entry = this.#open.get(fd);
    this.#open.delete(fd);
    if (entry === undefined) this.#complete(tag, -EBADF);
    else if (entry.kind === 'listener') this.#closeListener(tag, entry);
    else this.#closeConnection(tag, entry);
  }

  #closeListener(tag: number, listener: Listener): void {
    listener.server.close();
    for (const socket of listener.waiting) socket.destroy();
    for (const accept of listener.accepts) this.#complete(accept, -ECANCELED);
    listener.accepts.length = 0;
    this.#complete(tag, 0);
  }

  #closeConnection(tag: number, connection: Connection): void {
    const { socket } = connection;
    connection.closing = true;
    if (connection.receive !== undefined) {
      this.#complete(connection.receive.tag, -ECANCELED);
      connection.receive = undefined;
    }
    if (socket.closed) {
      this.#complete(tag, 0);
      return;
    }
    // The callback of a send in flight runs before this event.
    socket.once('close', () => this.#complete(tag, 0));
    if (connection.sending || socket.writableLength === 0) {
      socket.destroy();
      return;
    }
    const linger = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once('close', () => clearTimeout(linger));
    socket.destroySoon();
  }

  #acceptNext(listener: Listener): void {
    while (listener.accepts.length > 0 && listener.waiting.length > 0) {
      this.#complete(listener.accepts.shift()!, this.#adopt(listener.waiting.shift()!));
    }
  }

  #adopt(socket: net.Socket): number {
    const connection: Connection = {
      kind: 'connection',
      socket,
      receive: undefined,
      sending: false,
      closing: false,
      ended: false,
      errno: 0,
    };
    socket.on('readable', () => this.#receiveNow(connection));
    socket.on('end', () => {
      connection.ended = true;
      this.#receiveNow(connection);
    });
    socket.on('error', (error) => {
      connection.errno = errnoOf(error, EPIPE);
      this.#receiveNow(connection);
    });
    return this.#add(connection);
  }

  #receiveNow(connection: Connection): void {
    const { receive, socket } = connection;
    if (receive === undefined) return;
    const lengthBytes = Math.min(receive.lengthBytes, socket.readableLength);
    // Reading nothing is what makes an empty stream notice its end.
    const chunk: unknown = lengthBytes === 0 ? socket.read(0) : socket.read(lengthBytes);
    if (chunk instanceof Uint8Array) {
      this.#bytes.set(chunk, receive.address);
      this.#endReceive(connection, receive.tag, chunk.length);
    } else if (connection.errno !== 0) this.#endReceive(connection, receive.tag, -connection.errno);
    else if (connection.ended) this.#endReceive(connection, receive.tag, 0);
  }

  #endReceive(connection: Connection, tag: number, result: number): void {
    connection.receive = undefined;
    this.#complete(tag, result);
  }

  #connection(fd: number): Connection | undefined {
    const entry = this.#open.get(fd);
    return entry?.kind === 'connection' ? entry : undefined;
  }

  #add(entry: Connection | Listener): number {
    const fd = this.#next;
    this.#next += 1;
    this.#open.set(fd, entry);
    return fd;
  }
}

/** Why there can be no socket at `to`, as an errno; 0 if there can. */
function refusalOfAddress(to: SocketAddress): number {
  if (typeof to !== 'string') return socketAddressOf(to) === undefined ? EINVAL : 0;
  return Buffer.byteLength(to) > SOCKET_PATH_BYTES_MAX ? ENAMETOOLONG : 0;
}

/** Why nothing can be sent on a connection, as an errno; 0 if it can. */
function refusalOf(connection: Connection | undefined): number {
  if (connection === undefined) return EBADF;
  if (connection.errno !== 0) return connection.errno;
  return connection.socket.destroyed ? EPIPE : 0;
}
