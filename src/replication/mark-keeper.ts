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
  /** Seats of members that are to be told so: with the next tick, as a client that flushes each write need not have each flush told. */
  #untoldSeats = 0;
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
    const { path, members } = this.#head;
    this.#durableNumber = path.nextNumber;
    this.#untoldSeats = members.openSeats;
    this.tell();
    // What was not acknowledged yet is sent again.
    this.#durableNumber = path.oldestNumber;
  }

  onFlushed({ number, tookSeats }: Operation): void {
    if ((this.#head.path.neededSeats & ~tookSeats) !== 0 || number <= this.#durableNumber) return;
    this.#durableNumber = number;
    this.#untoldSeats = tookSeats;
  }

  tick(): void {
    this.tell();
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
    this.#untoldSeats = 0;
  }

  /** Tells the members what is durable everywhere, if there is something that they were not told. */
  tell(): void {
    const seats = this.#untoldSeats;
    this.#untoldSeats = 0;
    if (seats === 0) return;
    const { members, changer } = this.#head;
    for (const member of members) {
      if ((member.seat & seats) === 0 || !member.isOpen) continue;
      if (!changer.known.members.has(member.replica)) continue;
      const { request } = members;
      request.kind = 'durable';
      request.epoch = this.claimEpoch;
      request.number = this.#durableNumber;
      members.send(member);
    }
  }
}
