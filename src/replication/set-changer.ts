/**
 * Changes the record of a volume for one head: one transaction at a time, conditional on the whole record that this head knows, and the
 * same one again until its outcome is known (docs/replication.md, "Changes of S"; F6).
 */

import { assert } from '../lib/assert.ts';
import { type Record, isSame } from './record.ts';

export type TransactionOutcome =
  | { readonly kind: 'committed' }
  /** Read in the same instant in which the condition did not hold. */
  | { readonly kind: 'conflict'; readonly record: Record | undefined }
  /** It may have taken effect, or still will. */
  | { readonly kind: 'unknown' };

/** Between two tries of the same transaction. */
const RETRY_MS = 100;

export type SetChangerHost = {
  now(): number;
  /** Ends in one {@link SetChanger.onOutcome} for `next.writer`. */
  transact(expected: Record, next: Record): void;
  onCommitted(record: Record): void;
  /** The record is somebody else's: `record` is what it is now. */
  onOvertaken(record: Record | undefined): void;
};

export class SetChanger {
  /** Committed, by this head or before it. */
  known: Record;
  /** Submitted, outcome unknown. */
  pending: Record | undefined;
  readonly #host: SetChangerHost;
  #retryAtMs: number | undefined;

  constructor(known: Record, host: SetChangerHost) {
    this.known = known;
    this.#host = host;
  }

  submit(next: Record): void {
    assert(this.pending === undefined, 'one transaction at a time');
    assert(next.epoch === this.known.epoch + 1, 'a record follows the one that is known');
    this.pending = next;
    this.#host.transact(this.known, next);
  }

  onOutcome(writer: string, outcome: TransactionOutcome): void {
    const pending = this.pending;
    if (pending?.writer !== writer) return;
    if (outcome.kind === 'unknown') {
      this.#retryAtMs = this.#host.now() + RETRY_MS;
      return;
    }
    this.pending = undefined;
    this.#retryAtMs = undefined;
    const isOurs =
      outcome.kind === 'committed' ||
      (outcome.record !== undefined && isSame(outcome.record, pending));
    if (isOurs) {
      this.known = pending;
      this.#host.onCommitted(pending);
    } else {
      this.#host.onOvertaken(outcome.record);
    }
  }

  tick(): void {
    if (this.pending === undefined || this.#retryAtMs === undefined) return;
    if (this.#host.now() < this.#retryAtMs) return;
    this.#retryAtMs = undefined;
    this.#host.transact(this.known, this.pending);
  }
}
