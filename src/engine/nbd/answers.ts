/**
 * How requests end: what the target's result becomes on the wire. Single pieces are replies of their own. Requests in pieces
 * have a parent slot that counts them and keeps the first error:
 *
 *  - WRITE: pieces give their slots back, the parent carries the reply;
 *  - READ, structured: each piece is a chunk; the last to end is marked as the final one;
 *  - READ, simple or unfragmented: pieces go out in order behind one header (the lane), and nothing else in between.
 */

import { Buffer } from 'node:buffer';

import { assert } from '../../lib/assert.ts';
import type { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import { CMD_FLAG_DF, SIMPLE_REPLY_BYTES } from '../../wire/nbd/constants.ts';
import {
  NONE_CHUNK_BYTES,
  OFFSET_DATA_HEADER_BYTES,
  OFFSET_HOLE_BYTES,
  formatError,
  formatErrorOffset,
  formatNone,
  formatOffsetData,
  formatOffsetHole,
  formatSimpleReply,
  nbdError,
} from '../../wire/nbd/reply.ts';
import type { Connection } from './connection.ts';
import type { Sender } from './sender.ts';
import { type SlotPool, NONE } from './slots.ts';

// Kinds of slots.
export const READ = 0;
export const WRITE = 1;
export const WRITE_PIECE = 2;
export const READ_CHUNK = 3;
export const STREAM_PIECE = 4;
export const FLUSH = 5;
export const TRIM = 6;
export const ZERO = 7;
/** A request in pieces. */
export const PARENT = 8;
/** Bytes to be sent, with no request behind them. */
export const ANSWER = 9;
/** A parent whose reply in pieces has begun. */
export const PARENT_BEGUN = 10;

/** Zeros of at least this length go as a hole: looking for them costs less than sending them. */
const HOLE_BYTES_MIN = 32_768;

export type AnswersEvents = {
  /** A slot was given back: whoever waits for one may try again. */
  onReleased(connection: Connection): void;
  /** A reply was begun and cannot be completed: the protocol demands a disconnect. */
  onBroken(connection: Connection): void;
};

export class Answers {
  readonly #slots: SlotPool;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #buffer: Buffer;
  readonly #sender: Sender;
  readonly #events: AnswersEvents;
  /** By slot: its piece has been read and waits for its turn in the lane. */
  readonly #ready: Uint8Array;

  constructor(
    arena: Arena,
    parts: {
      readonly slots: SlotPool;
      readonly sender: Sender;
      readonly events: AnswersEvents;
    },
  ) {
    this.#slots = parts.slots;
    this.#view = arena.view;
    this.#bytes = arena.u8;
    this.#buffer = Buffer.from(arena.memory.buffer);
    this.#sender = parts.sender;
    this.#events = parts.events;
    this.#ready = new Uint8Array(parts.slots.count);
  }

  /** The target is done with `slot`. */
  complete(connection: Connection, slot: number, errno: number): void {
    if (connection.isOver) {
      this.giveUp(connection, slot);
      return;
    }
    switch (this.#slots.kind[slot]!) {
      case READ:
        this.#onRead(connection, slot, errno);
        return;
      case WRITE_PIECE:
        this.#onWritePiece(connection, slot, errno);
        return;
      case READ_CHUNK:
        this.#onChunk(connection, slot, errno);
        return;
      case STREAM_PIECE:
        this.#slots.errno[slot] = errno;
        this.#ready[slot] = 1;
        this.pumpLane(connection);
        return;
      default:
        this.reply(connection, slot, errno);
    }
  }

  /** Replies to a request that carries no data back, from `slot`. */
  reply(connection: Connection, slot: number, errno: number): void {
    const { headAddress, cookieHigh, cookieLow } = this.#slots;
    const at = headAddress[slot]!;
    const high = cookieHigh[slot]!;
    const low = cookieLow[slot]!;
    const error = nbdError(errno);
    let lengthBytes = SIMPLE_REPLY_BYTES;
    if (error !== 0 && connection.structuredReplies) {
      lengthBytes = formatError(this.#view, at, error, high, low);
    } else formatSimpleReply(this.#view, at, error, high, low);
    this.#sender.push(connection, slot, at, lengthBytes);
  }

  /** Replies to a READ of nothing. */
  replyEmptyRead(connection: Connection, slot: number): void {
    if (!connection.structuredReplies) {
      this.reply(connection, slot, 0);
      return;
    }
    const at = this.#slots.headAddress[slot]!;
    formatNone(this.#view, at, this.#slots.cookieHigh[slot]!, this.#slots.cookieLow[slot]!);
    this.#sender.push(connection, slot, at, NONE_CHUNK_BYTES);
  }

  /** All pieces of `parent` were handed out. Replies if they have all ended. */
  issued(connection: Connection, parent: number): void {
    if (this.#slots.outstanding[parent] === 0) this.#finish(connection, parent);
  }

  /** Puts a piece at the end of the lane, before it is read. */
  enterLane(connection: Connection, slot: number): void {
    this.#ready[slot] = 0;
    this.#slots.laneNext[slot] = NONE;
    if (connection.laneLast === NONE) connection.laneFirst = slot;
    else this.#slots.laneNext[connection.laneLast] = slot;
    connection.laneLast = slot;
    connection.laneCount += 1;
  }

  /** Sends the pieces whose turn it is. */
  pumpLane(connection: Connection): void {
    while (connection.laneFirst !== NONE && !connection.isOver) {
      const slot = connection.laneFirst;
      if (this.#ready[slot] === 0) return;
      this.#leaveLane(connection, slot);
      this.#sendPiece(connection, slot);
    }
  }

  /** The connection is over: gives back what waited in its lane. The rest comes back as the target ends it. */
  dropLane(connection: Connection): void {
    let slot = connection.laneFirst;
    while (slot !== NONE) {
      const next = this.#slots.laneNext[slot]!;
      if (this.#ready[slot] === 1) this.releasePiece(connection, slot);
      slot = next;
    }
    connection.laneFirst = NONE;
    connection.laneLast = NONE;
    connection.laneCount = 0;
  }

  /** The connection is over: its request in pieces gets no further ones. */
  abandon(connection: Connection): void {
    const parent = connection.issueParent;
    if (parent === NONE) return;
    connection.issue = 'none';
    connection.issueParent = NONE;
    if (this.#slots.outstanding[parent] === 0) this.release(connection, parent);
  }

  /** `slot`, of a connection that is over, is with no target. In the lane it stays until that is dropped: given back, it would soon be in another's too. */
  giveUp(connection: Connection, slot: number): void {
    if (this.#slots.kind[slot] === STREAM_PIECE && !connection.closed) this.#ready[slot] = 1;
    else this.releasePiece(connection, slot);
  }

  release(connection: Connection, slot: number): void {
    this.#slots.release(slot);
    this.#events.onReleased(connection);
  }

  /** Gives back a slot that nobody waits for, and with the last piece its parent's. */
  releasePiece(connection: Connection, slot: number): void {
    const parent = this.#slots.parent[slot]!;
    this.release(connection, slot);
    if (parent === NONE) return;
    if (this.#pieceEnded(parent) && connection.issueParent !== parent) {
      this.release(connection, parent);
    }
  }

  /** Counts a piece off; true if it was the last one under way. */
  #pieceEnded(parent: number): boolean {
    const { outstanding } = this.#slots;
    assert(outstanding[parent]! > 0, 'a piece ends once');
    outstanding[parent] = outstanding[parent]! - 1;
    return outstanding[parent] === 0;
  }

  #onRead(connection: Connection, slot: number, errno: number): void {
    if (errno === 0) {
      this.#sendContent(connection, slot, true);
      return;
    }
    if (connection.structuredReplies) this.#sendErrorOffset(connection, slot, errno, true);
    else this.reply(connection, slot, errno);
  }

  #onWritePiece(connection: Connection, slot: number, errno: number): void {
    const parent = this.#slots.parent[slot]!;
    this.#note(parent, errno);
    this.release(connection, slot);
    if (this.#pieceEnded(parent) && connection.issueParent !== parent) {
      this.#finish(connection, parent);
    }
  }

  #onChunk(connection: Connection, slot: number, errno: number): void {
    const parent = this.#slots.parent[slot]!;
    const last = this.#pieceEnded(parent) && connection.issueParent !== parent;
    if (errno === 0) this.#sendContent(connection, slot, last);
    else this.#sendErrorOffset(connection, slot, errno, last);
    // The final chunk was this one: the parent has nothing to send.
    if (last) this.release(connection, parent);
  }

  #note(parent: number, errno: number): void {
    if (this.#slots.errno[parent] === 0) this.#slots.errno[parent] = errno;
  }

  #finish(connection: Connection, parent: number): void {
    this.reply(connection, parent, this.#slots.errno[parent]!);
  }

  /** Sends what was read, with its header right before it; or a hole. */
  #sendContent(connection: Connection, slot: number, done: boolean): void {
    const { dataAddress, offsetBytes, lengthBytes, cookieHigh, cookieLow, flags } = this.#slots;
    const offset = offsetBytes[slot]!;
    const length = lengthBytes[slot]!;
    const data = dataAddress[slot]! + (offset % BLOCK_BYTES);
    const high = cookieHigh[slot]!;
    const low = cookieLow[slot]!;
    if (!connection.structuredReplies) {
      const at = data - SIMPLE_REPLY_BYTES;
      formatSimpleReply(this.#view, at, 0, high, low);
      this.#sender.push(connection, slot, at, SIMPLE_REPLY_BYTES + length);
      return;
    }
    const mayBeHole = length >= HOLE_BYTES_MIN && (flags[slot]! & CMD_FLAG_DF) === 0;
    if (mayBeHole && this.#isZero(data, length)) {
      const at = this.#slots.headAddress[slot]!;
      formatOffsetHole(this.#view, at, done, high, low, offset, length);
      this.#sender.push(connection, slot, at, OFFSET_HOLE_BYTES);
      return;
    }
    const at = data - OFFSET_DATA_HEADER_BYTES;
    formatOffsetData(this.#view, at, done, high, low, offset, length);
    this.#sender.push(connection, slot, at, OFFSET_DATA_HEADER_BYTES + length);
  }

  /** Looks at three bytes first: only what begins, ends and goes on with zeros is compared, each byte with its neighbour. */
  #isZero(address: number, lengthBytes: number): boolean {
    const bytes = this.#bytes;
    const end = address + lengthBytes;
    if (bytes[address] !== 0 || bytes[end - 1] !== 0 || bytes[address + 512] !== 0) return false;
    return this.#buffer.compare(this.#buffer, address, end - 1, address + 1, end) === 0;
  }

  #sendErrorOffset(connection: Connection, slot: number, errno: number, done: boolean): void {
    const { headAddress, offsetBytes, cookieHigh, cookieLow } = this.#slots;
    const at = headAddress[slot]!;
    const lengthBytes = formatErrorOffset(
      this.#view,
      at,
      done,
      nbdError(errno),
      cookieHigh[slot]!,
      cookieLow[slot]!,
      offsetBytes[slot]!,
    );
    this.#sender.push(connection, slot, at, lengthBytes);
  }

  // --- Replies in pieces, in order ------------------------------------------------------------------------------

  #leaveLane(connection: Connection, slot: number): void {
    connection.laneFirst = this.#slots.laneNext[slot]!;
    if (connection.laneFirst === NONE) connection.laneLast = NONE;
    connection.laneCount -= 1;
  }

  #sendPiece(connection: Connection, slot: number): void {
    const { kind, errno, parent: parents } = this.#slots;
    const parent = parents[slot]!;
    const pieceErrno = errno[slot]!;
    if (kind[parent] === PARENT && (pieceErrno !== 0 || errno[parent] !== 0)) {
      // Nothing of it is sent yet: it can still fail as a whole.
      this.#note(parent, pieceErrno);
      if (connection.issueParent === parent) {
        connection.issue = 'none';
        connection.issueParent = NONE;
      }
      this.release(connection, slot);
      if (this.#pieceEnded(parent)) this.reply(connection, parent, errno[parent]!);
      return;
    }
    if (pieceErrno !== 0 && !connection.structuredReplies) {
      // "the server MUST immediately initiate a hard disconnect; it MUST NOT send any further data".
      this.releasePiece(connection, slot);
      this.#events.onBroken(connection);
      return;
    }
    this.#sendOrderedData(connection, slot, pieceErrno);
    if (this.#pieceEnded(parent) && connection.issueParent !== parent) {
      this.#endStream(connection, parent);
    }
  }

  #sendOrderedData(connection: Connection, slot: number, pieceErrno: number): void {
    const { kind, dataAddress, offsetBytes, lengthBytes, parent: parents } = this.#slots;
    const parent = parents[slot]!;
    const data = dataAddress[slot]! + (offsetBytes[slot]! % BLOCK_BYTES);
    const length = lengthBytes[slot]!;
    if (pieceErrno !== 0) {
      // The chunk is under way: "it MUST use padding bytes which SHOULD be zero", and an error chunk follows.
      this.#note(parent, pieceErrno);
      this.#bytes.fill(0, data, data + length);
    }
    let at = data;
    if (kind[parent] === PARENT) {
      kind[parent] = PARENT_BEGUN;
      at = this.#beginStream(connection, parent, data);
    }
    this.#sender.pushPiece(connection, slot, at, length + data - at);
  }

  /** Takes the wire and formats the header of the whole reply before the first piece's data; returns the header's address. */
  #beginStream(connection: Connection, parent: number, data: number): number {
    const { cookieHigh, cookieLow, offsetBytes, lengthBytes } = this.#slots;
    const high = cookieHigh[parent]!;
    const low = cookieLow[parent]!;
    connection.wireTaken = true;
    if (!connection.structuredReplies) {
      formatSimpleReply(this.#view, data - SIMPLE_REPLY_BYTES, 0, high, low);
      return data - SIMPLE_REPLY_BYTES;
    }
    const at = data - OFFSET_DATA_HEADER_BYTES;
    const offset = offsetBytes[parent]!;
    formatOffsetData(this.#view, at, false, high, low, offset, lengthBytes[parent]!);
    return at;
  }

  #endStream(connection: Connection, parent: number): void {
    this.#sender.freeWire(connection);
    if (!connection.structuredReplies) {
      this.release(connection, parent);
      return;
    }
    const errno = this.#slots.errno[parent]!;
    if (errno === 0) this.replyEmptyRead(connection, parent);
    else this.#sendErrorOffset(connection, parent, errno, true);
  }
}
