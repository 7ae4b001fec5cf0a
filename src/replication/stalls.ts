/** What stands still: a member that does not answer, and I/O that does not go on (docs/replication.md, "Judging a member", "A stall given up"). */

import type { Head } from './head.ts';
import { type Member, SUSPECT_MS } from './member.ts';

/** The member whose oldest request is unanswered for too long, if there is one (F23). */
export function findSilent({ path, members, host }: Head): Member | undefined {
  const before = host.now() - SUSPECT_MS;
  for (const operation of path.operations) {
    if (!operation.started || operation.sentAtMs > before) continue;
    const silent =
      operation.sentSeats & ~(operation.tookSeats | operation.failedSeats) & members.openSeats;
    for (const member of members) if ((member.seat & silent) !== 0) return member;
  }
  return undefined;
}

/** Ends the session of a client none of whose requests were answered for so long, whatever the reason (L12). */
export class StallLimit {
  readonly #head: Head;
  readonly #limitMs: number;
  /** When requests last went on, as far as was looked. */
  #wentOnAtMs: number;
  #answerCount = 0;

  constructor(head: Head, limitMs: number) {
    this.#head = head;
    this.#limitMs = limitMs;
    this.#wentOnAtMs = head.host.now();
  }

  tick(): void {
    const { path, host } = this.#head;
    const now = host.now();
    if (path.answerCount !== this.#answerCount || !this.#isAsked()) {
      this.#answerCount = path.answerCount;
      this.#wentOnAtMs = now;
    } else if (now - this.#wentOnAtMs > this.#limitMs) {
      this.#head.giveUp();
    }
  }

  #isAsked(): boolean {
    for (const { token, isAcknowledged } of this.#head.path.operations) {
      if (token >= 0 && !isAcknowledged) return true;
    }
    return false;
  }
}
