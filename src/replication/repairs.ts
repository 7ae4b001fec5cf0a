/** Copies that a drive cannot read any more, found by reads: they are written anew from other members (docs/replication.md, "Repair"; F18). */

import { ECONNRESET } from '../model/errno.ts';
import type { Head } from './head.ts';
import { EXTENT_BYTES, type RequestBody, extentsOf } from './messages.ts';

/** Extents that wait for their repair; what is beyond is found again. */
const WAITING_MAX = 1024;

export class Repairs {
  readonly #head: Head;
  readonly #waiting = new Set<number>();
  #isUnderWay = false;
  /** Copies of extents that could be read, and were not what clients read: a drive lied, or Holdfast has a fault. */
  differedCount = 0;

  constructor(head: Head) {
    this.#head = head;
  }

  /** A member could not do all of this read. */
  add(read: RequestBody): void {
    for (const extent of extentsOf(read)) {
      if (this.#waiting.size < WAITING_MAX) this.#waiting.add(extent);
    }
    this.#advance();
  }

  /**
   * Compares an extent on all members under a hold, and makes those alike that cannot read it, or have something else: as the member has
   * it that clients read. Ends in 0; EIO: a block of it is readable nowhere; ECONNRESET: it did not come to that.
   */
  compare(extent: number, onDone: (errno: number) => void): void {
    const { path, copier, changer, host, members, isRecorded } = this.#head;
    const { sizeBytes } = changer.known;
    // Members take a new size with the record.
    if (!path.isServing || !isRecorded || extent * EXTENT_BYTES >= sizeBytes) {
      onDone(ECONNRESET);
      return;
    }
    const plan = () => ({
      sources: path.readSeats,
      seats: path.memberSeats & members.openSeats,
      onDifferent: (seat: number) => {
        this.differedCount++;
        host.onEvent('copies differed', { replica: members.at(seat).replica, extent });
      },
    });
    copier.equaliseHeld(extent, { sizeBytes, plan }, onDone);
  }

  #advance(): void {
    const [extent] = this.#waiting;
    if (extent === undefined || this.#isUnderWay) return;
    this.#waiting.delete(extent);
    this.#isUnderWay = true;
    this.compare(extent, () => {
      this.#isUnderWay = false;
      this.#advance();
    });
  }
}
