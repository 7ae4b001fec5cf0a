/**
 * Bytes of a client, turned into requests. Each request is started as it is parsed. Small payloads are copied from the receive
 * buffer to an aligned slot; large ones are received straight into it. Where a slot is missing nothing more is received, until the
 * connection is woken: so memory is bounded, and a client that does not take its replies stops only itself.
 */

import { assert } from '../../lib/assert.ts';
import type { Arena } from '../../lib/arena.ts';
import type { Io, Port } from '../../env/io.ts';
import { REQUEST_BYTES_MAX } from '../../model/block-target.ts';
import { EINVAL, ESHUTDOWN } from '../../model/errno.ts';
import {
  CMD_BLOCK_STATUS,
  CMD_CACHE,
  CMD_DISC,
  CMD_FLAG_DF,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  REQUEST_BYTES,
} from '../../wire/nbd/constants.ts';
import { RequestHeader, judgeRequest } from '../../wire/nbd/request.ts';
import { type Answers, ANSWER, FLUSH, PARENT, READ, TRIM, WRITE, ZERO } from './answers.ts';
import type { BlockStatus } from './block-status.ts';
import { type Connection, type Issue, RECEIVE_BYTES } from './connection.ts';
import type { Negotiator } from './negotiator.ts';
import { type Pieces, spanBytes } from './pieces.ts';
import { type SlotPool, NONE } from './slots.ts';

/** Payloads with this much still to come are received straight into their slot: a receive costs less than the copy. */
const DIRECT_BYTES_MIN = 32_768;
/** The receive after such a payload: the next header, and little that would have to be copied. */
const HEADER_RECEIVE_BYTES = 512;
/** Free bytes at the buffer's end below which the rest is moved to its start. */
const TAIL_BYTES_MIN = 16_384;

export type ReceiverEvents = {
  /** Hands a request or piece to the target. */
  start(connection: Connection, slot: number): void;
  /** Nothing more can be done until a slot is free. */
  wait(connection: Connection): void;
  /** The client said goodbye: it ends when all is answered. */
  onDisconnect(connection: Connection): void;
  /** The client is gone or does not speak NBD. */
  onBroken(connection: Connection): void;
};

export class Receiver {
  readonly #io: Io;
  readonly #port: Port;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #slots: SlotPool;
  readonly #answers: Answers;
  readonly #pieces: Pieces;
  readonly #negotiator: Negotiator;
  readonly #blockStatus: BlockStatus;
  readonly #connections: readonly Connection[];
  readonly #events: ReceiverEvents;
  readonly #header = new RequestHeader();
  readonly #limits = {
    sizeBytes: 0,
    readOnly: false,
    structuredReplies: false,
    allocationContext: false,
  };

  constructor(
    io: Io,
    parts: {
      readonly arena: Arena;
      readonly slots: SlotPool;
      readonly answers: Answers;
      readonly pieces: Pieces;
      readonly negotiator: Negotiator;
      readonly blockStatus: BlockStatus;
      readonly connections: readonly Connection[];
      readonly events: ReceiverEvents;
    },
  ) {
    this.#io = io;
    this.#view = parts.arena.view;
    this.#bytes = parts.arena.u8;
    this.#slots = parts.slots;
    this.#answers = parts.answers;
    this.#pieces = parts.pieces;
    this.#negotiator = parts.negotiator;
    this.#blockStatus = parts.blockStatus;
    this.#connections = parts.connections;
    this.#events = parts.events;
    this.#port = io.port((index, result) => this.#onReceive(index, result));
  }

  /** Goes on with what was received, then receives more. For new connections and those that waited. */
  advance(connection: Connection): void {
    while (connection.phase === 'handshake' || connection.phase === 'transmission') {
      const result =
        connection.phase === 'handshake'
          ? this.#negotiator.step(connection)
          : this.#step(connection);
      if (result === 'wait') {
        this.#events.wait(connection);
        return;
      }
      if (result === 'receive') {
        this.#receive(connection);
        return;
      }
    }
  }

  /** The connection is over: gives back the slot that was being filled. No receive may be under way. */
  dropFill(connection: Connection): void {
    if (connection.fillSlot === NONE) return;
    const slot = connection.fillSlot;
    connection.fillSlot = NONE;
    this.#answers.releasePiece(connection, slot);
  }

  // --- Receiving ------------------------------------------------------------------------------------------------

  #receive(connection: Connection): void {
    if (connection.receiving !== 'nothing') return;
    if (connection.fillSlot !== NONE && connection.fillBytes >= DIRECT_BYTES_MIN) {
      connection.receiving = 'slot';
      const { fd, fillAddress, fillBytes } = connection;
      this.#io.receive(this.#port, connection.index, fd, fillAddress, fillBytes);
      return;
    }
    this.#makeRoom(connection);
    const room = connection.bufferAddress + RECEIVE_BYTES - connection.end;
    assert(room > 0, 'the receive buffer has room for the rest of what it holds a part of');
    const lengthBytes = connection.expectsLargeWrite ? Math.min(room, HEADER_RECEIVE_BYTES) : room;
    connection.expectsLargeWrite = false;
    connection.receiving = 'buffer';
    this.#io.receive(this.#port, connection.index, connection.fd, connection.end, lengthBytes);
  }

  #makeRoom(connection: Connection): void {
    const { bufferAddress, start, end } = connection;
    if (start === end) {
      connection.start = bufferAddress;
      connection.end = bufferAddress;
    } else if (bufferAddress + RECEIVE_BYTES - end < TAIL_BYTES_MIN && start > bufferAddress) {
      this.#bytes.copyWithin(bufferAddress, start, end);
      connection.start = bufferAddress;
      connection.end = bufferAddress + end - start;
    }
  }

  #onReceive(index: number, result: number): void {
    const connection = this.#connections[index]!;
    const direct = connection.receiving === 'slot';
    connection.receiving = 'nothing';
    if (connection.isOver || connection.phase === 'draining') return;
    if (result <= 0) {
      this.#events.onBroken(connection);
      return;
    }
    if (direct) {
      connection.fillAddress += result;
      connection.fillBytes -= result;
      connection.expectsLargeWrite = true;
    } else connection.end += result;
    this.advance(connection);
  }

  // --- Transmission ---------------------------------------------------------------------------------------------

  /** One step forward: `go` if there may be more to do with what is there. */
  #step(connection: Connection): 'go' | 'wait' | 'receive' {
    if (connection.discardBytes > 0) return this.#discard(connection);
    if (connection.fillSlot !== NONE) return this.#fill(connection);
    if (connection.issue !== 'none') return this.#pieces.advance(connection);
    if (connection.end - connection.start < REQUEST_BYTES) return 'receive';
    const header = this.#header;
    if (!header.parse(this.#view, connection.start)) {
      this.#events.onBroken(connection);
      return 'go';
    }
    if (!this.#accept(connection, header)) return 'wait';
    connection.start += REQUEST_BYTES;
    return 'go';
  }

  #discard(connection: Connection): 'go' | 'receive' {
    const count = Math.min(connection.discardBytes, connection.end - connection.start);
    connection.start += count;
    connection.discardBytes -= count;
    return connection.discardBytes === 0 ? 'go' : 'receive';
  }

  /** Copies payload from the buffer; starts the write when it is whole. */
  #fill(connection: Connection): 'go' | 'receive' {
    const count = Math.min(connection.fillBytes, connection.end - connection.start);
    if (count > 0) {
      const { start } = connection;
      this.#bytes.copyWithin(connection.fillAddress, start, start + count);
      connection.start += count;
      connection.fillAddress += count;
      connection.fillBytes -= count;
    }
    if (connection.fillBytes > 0) return 'receive';
    const slot = connection.fillSlot;
    connection.fillSlot = NONE;
    this.#events.start(connection, slot);
    return 'go';
  }

  /** Starts the request; false if there is no slot for it, and nothing of it has been taken. */
  #accept(connection: Connection, header: RequestHeader): boolean {
    const { type } = header;
    if (type === CMD_DISC) {
      this.#events.onDisconnect(connection);
      return true;
    }
    const errno = this.#judge(connection, header);
    if (errno !== 0 || header.lengthBytes === 0 || type === CMD_CACHE) {
      if (type !== CMD_FLUSH || errno !== 0) return this.#answer(connection, header, errno);
    }
    switch (type) {
      case CMD_READ:
        return this.#acceptRead(connection, header);
      case CMD_WRITE:
        return this.#acceptWrite(connection, header);
      case CMD_BLOCK_STATUS:
        return this.#acceptStatus(connection, header);
      case CMD_FLUSH:
        return this.#acceptPlain(connection, header, FLUSH);
      case CMD_TRIM:
        return this.#acceptPlain(connection, header, TRIM);
      default:
        assert(type === CMD_WRITE_ZEROES, 'unknown types have been refused');
        return this.#acceptPlain(connection, header, ZERO);
    }
  }

  #judge(connection: Connection, header: RequestHeader): number {
    const { attachment } = connection;
    assert(attachment !== undefined, 'a connection in transmission has an attachment');
    if (attachment.state !== 'serving') return ESHUTDOWN;
    const limits = this.#limits;
    limits.sizeBytes = attachment.target.sizeBytes;
    limits.readOnly = attachment.readOnly;
    limits.structuredReplies = connection.structuredReplies;
    limits.allocationContext = connection.allocationContext;
    const errno = judgeRequest(header, limits);
    const needsLength = header.type === CMD_BLOCK_STATUS && header.lengthBytes === 0;
    return errno === 0 && needsLength ? EINVAL : errno;
  }

  /** Replies at once: refusals, requests of length 0, CACHE (a hint that is not taken). */
  #answer(connection: Connection, header: RequestHeader, errno: number): boolean {
    const slot = this.#slots.takeHeader(connection.index);
    if (slot === NONE) return false;
    this.#describe(slot, header, ANSWER);
    if (header.type === CMD_WRITE) connection.discardBytes = header.lengthBytes;
    if (errno === 0 && header.type === CMD_READ) this.#answers.replyEmptyRead(connection, slot);
    else this.#answers.reply(connection, slot, errno);
    return true;
  }

  #acceptPlain(connection: Connection, header: RequestHeader, kind: number): boolean {
    const slot = this.#slots.takeHeader(connection.index);
    if (slot === NONE) return false;
    this.#describe(slot, header, kind);
    this.#events.start(connection, slot);
    return true;
  }

  #acceptStatus(connection: Connection, header: RequestHeader): boolean {
    const slot = this.#slots.takeData(connection.index, 1);
    if (slot === NONE) return false;
    this.#describe(slot, header, ANSWER);
    this.#blockStatus.reply(connection, slot);
    return true;
  }

  #acceptRead(connection: Connection, header: RequestHeader): boolean {
    const { offsetBytes, lengthBytes } = header;
    const blockBytes = spanBytes(offsetBytes, lengthBytes);
    if (blockBytes <= REQUEST_BYTES_MAX) {
      const slot = this.#slots.takeData(connection.index, blockBytes);
      if (slot === NONE) return false;
      if (this.#holds(slot, offsetBytes, lengthBytes)) {
        this.#describe(slot, header, READ);
        this.#events.start(connection, slot);
        return true;
      }
      // A small slot for a larger request: it goes in pieces.
      this.#slots.release(slot);
    }
    const chunked = connection.structuredReplies && (header.flags & CMD_FLAG_DF) === 0;
    return this.#acceptInPieces(connection, header, chunked ? 'chunks' : 'stream');
  }

  #acceptWrite(connection: Connection, header: RequestHeader): boolean {
    const { offsetBytes, lengthBytes } = header;
    const blockBytes = spanBytes(offsetBytes, lengthBytes);
    if (blockBytes <= REQUEST_BYTES_MAX) {
      const slot = this.#slots.takeData(connection.index, blockBytes);
      if (slot === NONE) return false;
      if (this.#holds(slot, offsetBytes, lengthBytes)) {
        this.#describe(slot, header, WRITE);
        connection.startFill(this.#slots, slot);
        return true;
      }
      this.#slots.release(slot);
    }
    return this.#acceptInPieces(connection, header, 'write');
  }

  #acceptInPieces(connection: Connection, header: RequestHeader, issue: Issue): boolean {
    const parent = this.#slots.takeHeader(connection.index);
    if (parent === NONE) return false;
    this.#describe(parent, header, PARENT);
    this.#pieces.begin(connection, parent, issue);
    return true;
  }

  #describe(slot: number, header: RequestHeader, kind: number): void {
    const slots = this.#slots;
    slots.kind[slot] = kind;
    slots.flags[slot] = header.flags;
    slots.cookieHigh[slot] = header.cookieHigh;
    slots.cookieLow[slot] = header.cookieLow;
    slots.offsetBytes[slot] = header.offsetBytes;
    slots.lengthBytes[slot] = header.lengthBytes;
  }

  #holds(slot: number, offsetBytes: number, lengthBytes: number): boolean {
    return spanBytes(offsetBytes, lengthBytes) <= this.#slots.dataBytes[slot]!;
  }
}
