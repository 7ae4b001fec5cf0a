/** A walk over a volume that compares all that its members have, and repairs it (docs/replication.md, "Scrub"). */

import { ECONNRESET } from '../model/errno.ts';
import type { Head } from './head.ts';
import { EXTENT_BYTES, SURVEY_EXTENTS } from './messages.ts';

/** It may catch up with its rate by so much. */
const BEHIND_MS_MAX = 100;

export type ScrubOptions = {
  /** Where it begins; an earlier walk's {@link Scrub.offsetBytes} resumes it. */
  readonly offsetBytes: number;
  /** Of data compared, per member. Positive. */
  readonly bytesPerSecond: number;
};

export class Scrub {
  readonly #head: Head;
  readonly #bytesPerSecond: number;
  /** Extents with data on some member, in order, and where the next survey begins. */
  #found: number[] = [];
  #surveyAt: number;
  /** All before it was compared. */
  #nextExtent: number;
  #allowedAtMs = 0;
  #isUnderWay = false;
  isDone = false;

  constructor(head: Head, { offsetBytes, bytesPerSecond }: ScrubOptions) {
    this.#head = head;
    this.#bytesPerSecond = bytesPerSecond;
    this.#nextExtent = Math.floor(offsetBytes / EXTENT_BYTES);
    this.#surveyAt = this.#nextExtent;
    head.host.onEvent('scrub begun');
  }

  /** All below was compared since it began. */
  get offsetBytes(): number {
    return this.#nextExtent * EXTENT_BYTES;
  }

  /** Goes on if what it waits for is there: called at least every 50 ms. What fails is tried anew then. */
  advance(): void {
    const { path, host, changer, isRecorded } = this.#head;
    if (this.isDone || this.#isUnderWay || host.now() < this.#allowedAtMs) return;
    // All members are there, and have the size of the volume.
    if (!path.isServing || !isRecorded) return;
    const extent = this.#found[0];
    if (extent !== undefined) this.#compare(extent);
    else if (this.#surveyAt * EXTENT_BYTES < changer.known.sizeBytes) this.#survey();
    else {
      this.#nextExtent = Math.ceil(changer.known.sizeBytes / EXTENT_BYTES);
      this.isDone = true;
      host.onEvent('scrub done');
    }
  }

  #survey(): void {
    const { path, members } = this.#head;
    const found = new Set<number>();
    this.#isUnderWay = true;
    path.ask({
      kind: 'survey',
      seats: path.memberSeats & members.openSeats,
      number: this.#surveyAt,
      onAnswer: (_member, { survey }) => {
        for (const { extent } of survey) found.add(extent);
      },
      onDone: (errno) => {
        this.#isUnderWay = false;
        if (errno !== 0) return;
        this.#found = [...found].toSorted((a, b) => a - b);
        this.#nextExtent = this.#surveyAt;
        this.#surveyAt += SURVEY_EXTENTS;
        this.advance();
      },
    });
  }

  #compare(extent: number): void {
    const { host, repairs } = this.#head;
    this.#isUnderWay = true;
    repairs.compare(extent, (errno) => {
      this.#isUnderWay = false;
      if (errno === ECONNRESET) return;
      this.#found.shift();
      this.#nextExtent = extent + 1;
      const takesMs = (EXTENT_BYTES * 1000) / this.#bytesPerSecond;
      this.#allowedAtMs = Math.max(this.#allowedAtMs, host.now() - BEHIND_MS_MAX) + takesMs;
      this.advance();
    });
  }
}
