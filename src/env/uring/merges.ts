/**
 * Transfers that travel in one entry, because each goes on where the one before it ends, in the file and in memory: the two halves of
 * 128 KiB cost the kernel little more than one of them. Each keeps its own completion.
 */

import { KIND_FILE, KIND_MERGED, KIND_SHIFT } from './operations.ts';
import type { Reactor } from './reactor.ts';
import type { Ring } from './ring.ts';

/** Transfers in entries with several, at once: a turn's worth of the largest queue. */
const COUNT = 4096;
/** Bytes of one entry with several: 64 pages, which a disk takes in one command. */
const BYTES_MAX = 262_144;
const WORD_RANGE = 2 ** 32;
const NONE = -1;

/** One transfer of an entry. */
class Transfer {
  opcode = 0;
  tag = 0;
  positionBytes = 0;
  /** In the process, not in the arena. */
  address = 0;
  lengthBytes = 0;
  /** The one behind it, or NONE; of one that is not in use, the next such. */
  next = NONE;
}

export class Merges {
  readonly #ring: Ring;
  readonly #transfers: readonly Transfer[];
  #free = 0;
  /** The last transfer of the newest entry, if that has several. */
  #last = NONE;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#transfers = Array.from({ length: COUNT }, () => new Transfer());
    for (const [index, transfer] of this.#transfers.entries()) transfer.next = index + 1;
    this.#transfers[COUNT - 1]!.next = NONE;
  }

  /**
   * Lengthens the newest entry by a transfer, if that one is of the same kind, is not the kernel's yet, and ends where this one begins;
   * false if the transfer needs an entry of its own.
   */
  join(
    opcode: number,
    tag: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): boolean {
    const at = this.#ring.newest();
    const { sqe } = this.#ring;
    if (at < 0 || sqe[at] !== opcode || sqe[at + 1] !== fd) return false;
    const before = sqe[at + 6]!;
    const from = sqe[at + 2]! + sqe[at + 3]! * WORD_RANGE;
    const start = sqe[at + 4]! + sqe[at + 5]! * WORD_RANGE;
    if (from + before !== positionBytes || start + before !== address) return false;
    if (before + lengthBytes > BYTES_MAX) return false;
    if (sqe[at + 9]! >>> KIND_SHIFT === KIND_FILE) {
      const first = this.#add(opcode, sqe[at + 8]!, from, start, before);
      if (first === NONE) return false;
      sqe[at + 8] = first;
      sqe[at + 9] = (KIND_MERGED << KIND_SHIFT) | fd;
      this.#last = first;
    }
    const index = this.#add(opcode, tag, positionBytes, address, lengthBytes);
    if (index === NONE) return false;
    this.#transfers[this.#last]!.next = index;
    this.#last = index;
    sqe[at + 6] = before + lengthBytes;
    return true;
  }

  /**
   * Ends each transfer of an entry that ended with `result`. Those that it does not cover whole go again, each by itself, for a result
   * of their own: an error or a short result is one transfer's, not its neighbours'.
   */
  end(first: number, fd: number, result: number, reactor: Pick<Reactor, 'end' | 'transfer'>): void {
    let left = result;
    for (let index = first, following = NONE; index !== NONE; index = following) {
      const transfer = this.#transfers[index]!;
      const { opcode, tag, positionBytes, address, lengthBytes } = transfer;
      following = transfer.next;
      transfer.next = this.#free;
      this.#free = index;
      if (left >= lengthBytes) reactor.end(fd, tag, lengthBytes);
      else reactor.transfer(opcode, tag, fd, positionBytes, address, lengthBytes);
      left -= lengthBytes;
    }
  }

  #add(
    opcode: number,
    tag: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): number {
    const index = this.#free;
    if (index === NONE) return NONE;
    const transfer = this.#transfers[index]!;
    this.#free = transfer.next;
    transfer.opcode = opcode;
    transfer.tag = tag;
    transfer.positionBytes = positionBytes;
    transfer.address = address;
    transfer.lengthBytes = lengthBytes;
    transfer.next = NONE;
    return index;
  }
}
