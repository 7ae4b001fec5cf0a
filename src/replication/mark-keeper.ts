/** Keeps the marks on the members few: tells them what is durable everywhere, and flushes where no client does (F5). */

import type { Head } from './head.ts';
import type { Operation } from './operations.ts';

/** The head flushes by itself so long after a change, so that marks, and the time to make them equal, stay bounded. */
const FLUSH_MS = 1000;
/** And after so many changes. */
const FLUSH_CHANGES = 16_384;

export class MarkKeeper {
  readonly #head: Head;
  /** The epoch of the claim: marks of older epochs are other heads'. */
  claimEpoch = 0;
  /** Changes with lower numbers are durable on every member. */
  #durableNumber = 1;
  #flushedAtMs = 0;
  #isFlushing = false;

  constructor(head: Head) {
    this.#head = head;
  }

  get isAllDurable(): boolean {
    return this.#durableNumber === this.#head.path.nextNumber;
  }

  /** The members are equal, durably: no mark that there is means anything any more. */
  onEqual(): void {
    const { path } = this.#head;
    this.#tell(path.nextNumber);
    // What was not acknowledged yet is sent again.
    this.#durableNumber = path.oldestNumber;
  }

  onFlushed(flush: Operation): void {
    if ((this.#head.path.neededSeats & ~flush.tookSeats) === 0) this.#tell(flush.number);
  }

  tick(): void {
    const { path, host } = this.#head;
    const changes = path.nextNumber - this.#durableNumber;
    if (!path.isServing || this.#isFlushing || changes === 0) return;
    const now = host.now();
    if (now - this.#flushedAtMs < FLUSH_MS && changes < FLUSH_CHANGES) return;
    this.#isFlushing = true;
    this.#flushedAtMs = now;
    path.flush(-1, () => {
      this.#isFlushing = false;
    });
  }

  /** Sessions are made anew. */
  reset(): void {
    this.#isFlushing = false;
  }

  #tell(number: number): void {
    this.#durableNumber = Math.max(this.#durableNumber, number);
    const { members, changer } = this.#head;
    for (const member of members) {
      if (!member.isOpen || !changer.known.members.has(member.replica)) continue;
      const { request } = members;
      request.kind = 'durable';
      request.epoch = this.claimEpoch;
      request.number = number;
      members.send(member);
    }
  }
}
