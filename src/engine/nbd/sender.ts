/**
 * Replies on their way out. Replies of several requests go in one vectored send; how many follows the load. What the
 * socket does not take at once waits in env.io, and only this connection with it.
 */

import type { Io, Port } from '../../env/io.ts';
import { EAGAIN, ECANCELED } from '../../model/errno.ts';
import type { Connection } from './connection.ts';
import { type SlotPool, NONE } from './slots.ts';

/** Segments of one send. The socket takes about 200 KiB at once: 50 blocks. */
const SEGMENTS_MAX = 64;
/** With so much to send it is time, however few replies it is. */
const SEND_BYTES_MIN = 65_536;
/**
 * Replies per send: few while few completions wait, because the client's next requests depend on them; many in a busy turn,
 * because a send costs some 2 µs whatever it carries. The end of the turn sends what is left.
 */
const REPLIES_PER_SEND_MIN = 2;
const REPLIES_PER_SEND_MAX = 16;

export type SenderEvents = {
  /** The slot's reply was sent to its end; no operation refers to the slot any more. */
  onSent(connection: Connection, slot: number): void;
  /** The client is gone. */
  onBroken(connection: Connection): void;
};

export class Sender {
  readonly #io: Io;
  readonly #port: Port;
  readonly #slots: SlotPool;
  readonly #events: SenderEvents;
  readonly #connections: readonly Connection[];
  readonly #segments = new Uint32Array(2 * SEGMENTS_MAX);
  #dirty: Connection[] = [];

  constructor(
    io: Io,
    parts: {
      readonly slots: SlotPool;
      readonly connections: readonly Connection[];
      readonly events: SenderEvents;
    },
  ) {
    this.#io = io;
    this.#slots = parts.slots;
    this.#connections = parts.connections;
    this.#events = parts.events;
    this.#port = io.port((index, result) => this.#onSend(index, result));
  }

  /** Queues a slot's reply, `lengthBytes` at `address`. A reply that is being sent in pieces goes first. */
  push(connection: Connection, slot: number, address: number, lengthBytes: number): void {
    this.#slots.sendAddress[slot] = address;
    this.#slots.sendBytes[slot] = lengthBytes;
    if (connection.wireTaken) connection.held.push(slot);
    else this.#queue(connection, slot);
  }

  /** Queues a piece of the reply that has the wire. */
  pushPiece(connection: Connection, slot: number, address: number, lengthBytes: number): void {
    this.#slots.sendAddress[slot] = address;
    this.#slots.sendBytes[slot] = lengthBytes;
    this.#queue(connection, slot);
  }

  /** The reply in pieces is over: what waited for the wire follows it. */
  freeWire(connection: Connection): void {
    connection.wireTaken = false;
    for (let slot = connection.held.shift(); slot !== NONE; slot = connection.held.shift()) {
      this.#queue(connection, slot);
    }
  }

  /** Sends what the turn has left. */
  flushAll(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      this.#flush(connection);
    }
  }

  /** Gives back the slots of all that is queued. To be called when no send is under way. */
  drop(connection: Connection): void {
    const { replies, held } = connection;
    for (let slot = held.shift(); slot !== NONE; slot = held.shift()) this.#slots.release(slot);
    for (let slot = replies.shift(); slot !== NONE; slot = replies.shift()) {
      this.#slots.release(slot);
    }
    connection.queuedBytes = 0;
  }

  #queue(connection: Connection, slot: number): void {
    connection.replies.push(slot);
    connection.queuedBytes += this.#slots.sendBytes[slot]!;
    if (connection.sending) return;
    if (this.#isTime(connection)) this.#flush(connection);
    else if (!connection.dirty) {
      connection.dirty = true;
      this.#dirty.push(connection);
    }
  }

  #isTime(connection: Connection): boolean {
    if (connection.queuedBytes >= SEND_BYTES_MIN) return true;
    const { count } = connection.replies;
    if (count < REPLIES_PER_SEND_MIN) return false;
    return count >= REPLIES_PER_SEND_MAX || count * 2 >= this.#io.backlog();
  }

  #flush(connection: Connection): void {
    if (connection.sending || connection.isOver) return;
    while (connection.replies.first !== NONE) {
      const count = this.#gather(connection);
      const sent = this.#io.trySend(connection.fd, this.#segments, 0, count);
      if (sent < 0) {
        if (sent === -EAGAIN) this.#wait(connection, count);
        else this.#events.onBroken(connection);
        return;
      }
      this.#consume(connection, sent);
      // Sent slots may have brought further replies, or the connection's end.
      if (connection.sending || connection.isOver) return;
    }
  }

  /** Lists the first queued replies; returns how many. */
  #gather(connection: Connection): number {
    const { sendAddress, sendBytes, next } = this.#slots;
    const segments = this.#segments;
    let count = 0;
    let slot = connection.replies.first;
    while (slot !== NONE && count < SEGMENTS_MAX) {
      segments[2 * count] = sendAddress[slot]!;
      segments[2 * count + 1] = sendBytes[slot]!;
      count += 1;
      slot = next[slot]!;
    }
    return count;
  }

  #wait(connection: Connection, count: number): void {
    connection.sending = true;
    this.#io.send(this.#port, connection.index, connection.fd, this.#segments, 0, count);
  }

  #onSend(index: number, result: number): void {
    const connection = this.#connections[index]!;
    connection.sending = false;
    if (connection.isOver) return;
    if (result < 0) {
      if (result !== -ECANCELED) this.#events.onBroken(connection);
      return;
    }
    this.#consume(connection, result);
    this.#flush(connection);
  }

  /** Takes `sentBytes` off the front of the queue. */
  #consume(connection: Connection, sentBytes: number): void {
    const { sendAddress, sendBytes } = this.#slots;
    connection.queuedBytes -= sentBytes;
    let left = sentBytes;
    while (left > 0) {
      const slot = connection.replies.first;
      const lengthBytes = sendBytes[slot]!;
      if (left < lengthBytes) {
        sendAddress[slot] = sendAddress[slot]! + left;
        sendBytes[slot] = lengthBytes - left;
        return;
      }
      left -= lengthBytes;
      connection.replies.shift();
      this.#events.onSent(connection, slot);
    }
  }
}
