/**
 * Hands out the pieces of large requests, as slots for them become free. One request of a connection at a time is being handed
 * out; the ones behind it wait, which keeps the rule that only requests with all their slots wait for nothing but the target and the client.
 */

import { BLOCK_BYTES, REQUEST_BYTES_MAX } from '../../model/block-target.ts';
import { type Answers, READ_CHUNK, STREAM_PIECE, WRITE_PIECE } from './answers.ts';
import type { Connection, Issue } from './connection.ts';
import { type SlotPool, NONE } from './slots.ts';

/** Pieces under way of one reply that is sent in order. */
const LANE_COUNT_MAX = 4;

export type PiecesEvents = {
  /** Hands a piece to the target. */
  start(connection: Connection, slot: number): void;
};

export class Pieces {
  readonly #slots: SlotPool;
  readonly #answers: Answers;
  readonly #events: PiecesEvents;

  constructor(parts: {
    readonly slots: SlotPool;
    readonly answers: Answers;
    readonly events: PiecesEvents;
  }) {
    this.#slots = parts.slots;
    this.#answers = parts.answers;
    this.#events = parts.events;
  }

  /** Begins to hand out the request that `parent` describes. */
  begin(connection: Connection, parent: number, issue: Issue): void {
    connection.issue = issue;
    connection.issueParent = parent;
    connection.issueOffset = this.#slots.offsetBytes[parent]!;
    connection.issueBytes = this.#slots.lengthBytes[parent]!;
  }

  /** Hands out the next piece, or begins to receive it. */
  advance(connection: Connection): 'go' | 'wait' {
    const { issue, issueParent } = connection;
    if (issue === 'write' && this.#slots.errno[issueParent] !== 0) {
      // What is still to come of a write that has failed would only waste the drive.
      connection.discardBytes = connection.issueBytes;
      this.#issued(connection);
      return 'go';
    }
    if (issue === 'stream' && connection.laneCount >= LANE_COUNT_MAX) return 'wait';
    const wanted = pieceBytes(connection, REQUEST_BYTES_MAX);
    const slot = this.#slots.takeData(connection.index, spanBytes(connection.issueOffset, wanted));
    if (slot === NONE) return 'wait';
    if (issue === 'stream') this.continueStream(connection, slot);
    else if (issue === 'write') {
      this.#cut(connection, slot, WRITE_PIECE);
      connection.startFill(this.#slots, slot);
      if (connection.issueBytes === 0) this.#issued(connection);
    } else {
      this.#cut(connection, slot, READ_CHUNK);
      if (connection.issueBytes === 0) this.#issued(connection);
      this.#events.start(connection, slot);
    }
    return 'go';
  }

  /** Hands out the next piece of the reply that is sent in order, in `slot`: a new one, or that of a piece that was sent. */
  continueStream(connection: Connection, slot: number): void {
    this.#cut(connection, slot, STREAM_PIECE);
    this.#answers.enterLane(connection, slot);
    if (connection.issueBytes === 0) this.#issued(connection);
    this.#events.start(connection, slot);
  }

  /** Makes `slot` the next piece. What a slot holds ends on a block, so pieces after the first begin on one. */
  #cut(connection: Connection, slot: number, kind: number): void {
    const slots = this.#slots;
    const parent = connection.issueParent;
    const offset = connection.issueOffset;
    const length = pieceBytes(connection, slots.dataBytes[slot]! - (offset % BLOCK_BYTES));
    slots.kind[slot] = kind;
    slots.flags[slot] = slots.flags[parent]!;
    slots.cookieHigh[slot] = slots.cookieHigh[parent]!;
    slots.cookieLow[slot] = slots.cookieLow[parent]!;
    slots.offsetBytes[slot] = offset;
    slots.lengthBytes[slot] = length;
    slots.errno[slot] = 0;
    slots.parent[slot] = parent;
    slots.outstanding[parent] = slots.outstanding[parent]! + 1;
    connection.issueOffset += length;
    connection.issueBytes -= length;
  }

  /** The last piece is out. To be called before that piece can end, or when all have ended. */
  #issued(connection: Connection): void {
    const parent = connection.issueParent;
    connection.issue = 'none';
    connection.issueParent = NONE;
    this.#answers.issued(connection, parent);
  }
}

/** Bytes of the blocks that a range touches. */
export function spanBytes(offsetBytes: number, lengthBytes: number): number {
  const before = offsetBytes % BLOCK_BYTES;
  return Math.ceil((before + lengthBytes) / BLOCK_BYTES) * BLOCK_BYTES;
}

/** Length of the next piece, at most `boundBytes`. Pieces end at multiples of their size, which are extents' ends as well. */
function pieceBytes(connection: Connection, boundBytes: number): number {
  const toBoundary = REQUEST_BYTES_MAX - (connection.issueOffset % REQUEST_BYTES_MAX);
  return Math.min(connection.issueBytes, toBoundary, boundBytes);
}
