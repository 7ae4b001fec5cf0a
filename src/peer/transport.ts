/** The data connections of one engine, of heads and of replicas, over `env.io`. Memory: {@link transportBytes}, and no more. */

import type { Io, Port } from '../env/io.ts';
import type { SocketAddress } from '../env/tcp-address.ts';
import type { Arena } from '../lib/arena.ts';
import {
  CONNECTION_BYTES,
  PeerConnection,
  type PeerHandler,
  Seat,
  type Wire,
} from './connection.ts';

/** Connections are made and strays closed so rarely that a number is free again long before all are used up. */
const INDEX_COUNT: number = 2 ** 20;

/** What connections take from the arena together; pages that were never used cost nothing. */
export function transportBytes(connectionCountMax: number): number {
  return connectionCountMax * CONNECTION_BYTES;
}

/** One for each engine; it has five ports of its `Io`. */
export class PeerTransport {
  readonly io: Io;
  readonly arena: Arena;
  readonly #countMax: number;
  readonly #wire: Wire;
  readonly #connectPort: Port;
  readonly #strayPort: Port;
  /** By seat. */
  readonly #connections: PeerConnection[] = [];
  readonly #freeSeats: Seat[] = [];
  readonly #dirty: PeerConnection[] = [];
  #seatCount = 0;
  /** Who waits for a connection that is being made, by index. */
  readonly #connecting = new Map<number, (result: number) => void>();
  #nextConnect = 0;

  /** `arena` has {@link transportBytes} left. */
  constructor(io: Io, arena: Arena, connectionCountMax: number) {
    this.io = io;
    this.arena = arena;
    this.#countMax = connectionCountMax;
    this.#wire = {
      io,
      arena,
      receivePort: io.port((index, result) => this.#connections[index]?.onReceive(result)),
      sendPort: io.port((index, result) => this.#connections[index]?.onSend(result)),
      closePort: io.port((index) => this.#connections[index]?.onClose()),
      onDirty: (connection) => this.#dirty.push(connection),
      onFree: (seat) => this.#freeSeats.push(seat),
    };
    this.#connectPort = io.port((index, result) => this.#onConnect(index, result));
    this.#strayPort = io.port(() => {});
    io.onTurnEnd(() => this.#flush());
  }

  /** Makes a connection of a socket. Undefined: there are as many as there may be, and the socket is closed. */
  adopt(fd: number, handler: PeerHandler): PeerConnection | undefined {
    const seat = this.#freeSeats.pop() ?? this.#newSeat();
    if (seat === undefined) {
      this.closeSocket(fd);
      return undefined;
    }
    const connection = new PeerConnection(this.#wire, seat, fd, handler);
    this.#connections[seat.index] = connection;
    return connection;
  }

  /** Connects a socket: `onDone` has its descriptor, or a negative errno. */
  connect(to: SocketAddress, onDone: (result: number) => void): void {
    const index = this.#nextConnect;
    this.#nextConnect = (index + 1) % INDEX_COUNT;
    this.#connecting.set(index, onDone);
    this.io.connect(this.#connectPort, index, to);
  }

  /** Closes a socket that is no connection. */
  closeSocket(fd: number): void {
    this.io.close(this.#strayPort, fd % INDEX_COUNT, fd);
  }

  #newSeat(): Seat | undefined {
    if (this.#seatCount === this.#countMax) return undefined;
    const seat = new Seat(this.arena, this.#seatCount);
    this.#seatCount += 1;
    return seat;
  }

  #onConnect(index: number, result: number): void {
    const onDone = this.#connecting.get(index);
    this.#connecting.delete(index);
    onDone?.(result);
  }

  #flush(): void {
    // To set the length of a list is a call of the runtime.
    if (this.#dirty.length === 0) return;
    // What is sent may bring more to send, on any of them.
    for (let index = 0; index < this.#dirty.length; index += 1) this.#dirty[index]?.flush();
    this.#dirty.length = 0;
  }
}
