/** Answers BLOCK_STATUS for base:allocation. */

import { assert } from '../../lib/assert.ts';
import type { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import { CMD_FLAG_REQ_ONE, STATE_HOLE, STATE_ZERO } from '../../wire/nbd/constants.ts';
import {
  BLOCK_STATUS_EXTENT_BYTES,
  BLOCK_STATUS_HEADER_BYTES,
  formatBlockStatus,
  formatStatusExtent,
} from '../../wire/nbd/reply.ts';
import type { Connection } from './connection.ts';
import type { Sender } from './sender.ts';
import type { SlotPool } from './slots.ts';

/** Extents of one reply: 4 KiB and a header, which any data slot holds. Clients ask again from where it ends. */
const EXTENT_COUNT_MAX = 512;
/** Bytes looked at for one request: the walk over the map of a larger range would hold up everybody. */
const RANGE_BYTES_MAX: number = 2 ** 30;

export class BlockStatus {
  readonly #view: DataView;
  readonly #slots: SlotPool;
  readonly #sender: Sender;
  readonly #runs = new Uint32Array(2 * EXTENT_COUNT_MAX);

  constructor(arena: Arena, parts: { readonly slots: SlotPool; readonly sender: Sender }) {
    this.#view = arena.view;
    this.#slots = parts.slots;
    this.#sender = parts.sender;
  }

  /** Replies from `slot`, a data slot that describes the request. */
  reply(connection: Connection, slot: number): void {
    const { attachment } = connection;
    assert(attachment !== undefined, 'a connection in transmission has an attachment');
    const offset = this.#slots.offsetBytes[slot]!;
    const length = Math.min(this.#slots.lengthBytes[slot]!, RANGE_BYTES_MAX);
    const firstBlock = Math.floor(offset / BLOCK_BYTES);
    const blockCount = Math.ceil((offset + length) / BLOCK_BYTES) - firstBlock;
    const one = (this.#slots.flags[slot]! & CMD_FLAG_REQ_ONE) !== 0;
    const runs = one ? this.#runs.subarray(0, 2) : this.#runs;
    const runCount = attachment.target.status(firstBlock, blockCount, runs);
    assert(runCount > 0, 'a status describes at least one run');
    this.#format(slot, { offset, end: offset + length, firstBlock, runCount });
    const address = this.#slots.dataAddress[slot]!;
    const bytes = BLOCK_STATUS_HEADER_BYTES + runCount * BLOCK_STATUS_EXTENT_BYTES;
    this.#sender.push(connection, slot, address, bytes);
  }

  #format(
    slot: number,
    range: {
      readonly offset: number;
      readonly end: number;
      readonly firstBlock: number;
      readonly runCount: number;
    },
  ): void {
    const address = this.#slots.dataAddress[slot]!;
    const { cookieHigh, cookieLow } = this.#slots;
    const { runCount } = range;
    formatBlockStatus(this.#view, address, runCount, cookieHigh[slot]!, cookieLow[slot]!);
    let at = range.offset;
    let block = range.firstBlock;
    for (let index = 0; index < runCount; index += 1) {
      block += this.#runs[2 * index]!;
      // The first run begins inside of its first block, and the last is cut to what was asked.
      const end = Math.min(block * BLOCK_BYTES, range.end);
      const state = this.#runs[2 * index + 1] === 1 ? 0 : STATE_HOLE | STATE_ZERO;
      formatStatusExtent(this.#view, address, index, end - at, state);
      at = end;
    }
  }
}
