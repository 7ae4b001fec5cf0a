/** Requests and pieces on their way to the target, and back as answers. A target with as many as it takes has the rest wait, in order. */

import { assert } from '../../lib/assert.ts';
import type { Io } from '../../env/io.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import { OPERATION_KINDS } from '../meter.ts';
import { CMD_FLAG_FUA, CMD_FLAG_NO_HOLE } from '../../wire/nbd/constants.ts';
import {
  type Answers,
  FLUSH,
  READ,
  READ_CHUNK,
  STREAM_PIECE,
  TRIM,
  WRITE,
  WRITE_PIECE,
  ZERO,
} from './answers.ts';
import type { Attachment } from './attachment.ts';
import type { Connection } from './connection.ts';
import { type SlotPool, NONE } from './slots.ts';

/** Requests handed to the ring at once: each by itself while there is time, several when completions pile up. */
const STARTS_PER_SUBMIT_BUSY = 4;
const BACKLOG_BUSY = 8;

/** By kind of slot: the place in OPERATION_KINDS. */
const METERED_AS = new Uint8Array(ZERO + 1);
for (const [kind, operation] of [
  [READ, 'read'],
  [READ_CHUNK, 'read'],
  [STREAM_PIECE, 'read'],
  [WRITE, 'write'],
  [WRITE_PIECE, 'write'],
  [FLUSH, 'flush'],
  [TRIM, 'trim'],
  [ZERO, 'zero'],
] as const) {
  METERED_AS[kind] = OPERATION_KINDS.indexOf(operation);
}

/** By (allocate ? 1 : 0) + (fua ? 2 : 0), so that a request allocates none. */
const ZERO_OPTIONS = [0, 1, 2, 3].map((bits) => ({
  allocate: (bits & 1) !== 0,
  fua: (bits & 2) !== 0,
}));

export class Dispatcher {
  readonly #io: Io;
  readonly #slots: SlotPool;
  readonly #connections: readonly Connection[];
  readonly #answers: Answers;
  #startsUnsubmitted = 0;
  /** Something was started in this turn. */
  #startedBefore = false;
  /** The stores' own hooks have run in this turn: whatever is started needs another one. */
  late = false;

  constructor(
    io: Io,
    parts: {
      readonly slots: SlotPool;
      readonly connections: readonly Connection[];
      readonly answers: Answers;
    },
  ) {
    this.#io = io;
    this.#slots = parts.slots;
    this.#connections = parts.connections;
    this.#answers = parts.answers;
  }

  /** Hands a request or piece to its target, now or when the target has room. */
  start(connection: Connection, slot: number): void {
    const { attachment } = connection;
    assert(attachment !== undefined, 'a request has an attachment');
    this.#slots.startUs[slot] = this.#io.nowUs();
    attachment.meter.inFlight += 1;
    if (attachment.hasRoom) this.#submit(attachment, slot);
    else attachment.waiting.push(slot);
  }

  /** The target is done with `slot`. */
  onDone(attachment: Attachment, slot: number, errno: number): void {
    attachment.inFlight -= 1;
    if (slot >= this.#slots.count) {
      attachment.onFlushed?.(errno);
      this.#io.yieldTurn();
      return;
    }
    const { kind, lengthBytes, startUs } = this.#slots;
    const us = this.#io.nowUs() - startUs[slot]!;
    attachment.meter.done(METERED_AS[kind[slot]!]!, lengthBytes[slot]!, us, errno);
    if (attachment.waiting.first !== NONE) this.#startWaiting(attachment);
    this.#answers.complete(this.#connections[this.#slots.connection[slot]!]!, slot, errno);
  }

  /** Asks the target for a flush that nobody's request is; it ends in `attachment.onFlushed`. */
  flush(attachment: Attachment): void {
    attachment.inFlight += 1;
    attachment.target.flush(this.#slots.count + attachment.index);
  }

  #startWaiting(attachment: Attachment): void {
    while (attachment.inFlight < attachment.target.requestCountMax) {
      const slot = attachment.waiting.shift();
      if (slot === NONE) return;
      const connection = this.#connections[this.#slots.connection[slot]!]!;
      // design.md, 3.12: nothing of a connection starts once it is over.
      if (!connection.isOver) this.#submit(attachment, slot);
      else {
        attachment.meter.inFlight -= 1;
        this.#answers.giveUp(connection, slot);
      }
    }
  }

  /** From here on the slot's memory is the target's, until onDone. */
  #submit(attachment: Attachment, slot: number): void {
    const { kind, flags, offsetBytes, lengthBytes, dataAddress } = this.#slots;
    const { target } = attachment;
    attachment.inFlight += 1;
    const offset = offsetBytes[slot]!;
    const length = lengthBytes[slot]!;
    const fua = (flags[slot]! & CMD_FLAG_FUA) !== 0;
    switch (kind[slot]!) {
      case READ:
      case READ_CHUNK:
      case STREAM_PIECE: {
        const first = Math.floor(offset / BLOCK_BYTES);
        const count = Math.ceil((offset + length) / BLOCK_BYTES) - first;
        target.read(slot, first, count, dataAddress[slot]!);
        break;
      }
      case WRITE:
      case WRITE_PIECE:
        target.write(slot, offset, length, dataAddress[slot]! + (offset % BLOCK_BYTES), fua);
        break;
      case FLUSH:
        target.flush(slot);
        break;
      case TRIM:
        target.trim(slot, offset, length, fua);
        break;
      default:
        assert(kind[slot] === ZERO, 'only requests and pieces are started');
        target.zero(slot, offset, length, zeroOptions(flags[slot]!));
    }
    this.#submitted();
  }

  /** The turn is over: what it started is submitted with the next wait. */
  endTurn(): void {
    this.#startsUnsubmitted = 0;
    this.#startedBefore = false;
  }

  #submitted(): void {
    if (this.late) {
      this.#io.yieldTurn();
      return;
    }
    this.#startsUnsubmitted += 1;
    // A lone request goes with the wait for its completion, in one system call.
    if (this.#startsUnsubmitted === 1 && !this.#startedBefore) {
      this.#startedBefore = true;
      return;
    }
    const busy = this.#io.backlog() >= BACKLOG_BUSY;
    if (busy && this.#startsUnsubmitted < STARTS_PER_SUBMIT_BUSY) return;
    this.#startsUnsubmitted = 0;
    this.#io.submit();
  }
}

function zeroOptions(flags: number): { readonly allocate: boolean; readonly fua: boolean } {
  const allocate = (flags & CMD_FLAG_NO_HOLE) !== 0 ? 1 : 0;
  const fua = (flags & CMD_FLAG_FUA) !== 0 ? 2 : 0;
  return ZERO_OPTIONS[allocate + fua]!;
}
