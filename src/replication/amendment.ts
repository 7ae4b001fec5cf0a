/** A change of the record that is asked of its head: another size, another minimum (docs/replication.md, "Growth", "Another minimum"). */

import type { Head } from './head.ts';
import type { HeadEvent } from './head-host.ts';
import { type Record, resized, withMinimum } from './record.ts';

export type Amended = {
  readonly event: HeadEvent;
  /** Whether a record has it. */
  isIn(record: Record): boolean;
  /** The next record, which has it. */
  make(record: Record, writer: string): Record;
  /** The store has it, and every replica with a session. */
  onDone(): void;
};

/** A larger volume; a smaller one it is already. */
export const growthTo = (sizeBytes: number, onDone: () => void): Amended => ({
  event: 'grown',
  isIn: (record) => record.sizeBytes >= sizeBytes,
  make: (record, writer) => resized(record, sizeBytes, writer),
  onDone,
});

/** As few members as S may have; while it has fewer, it stays as it is. */
export const minimumOf = (minimum: number, onDone: () => void): Amended => ({
  event: 'minimum changed',
  isIn: (record) => record.minimum === minimum || record.members.size < minimum,
  make: (record, writer) => withMinimum(record, minimum, writer),
  onDone,
});

export class Amendment {
  readonly #head: Head;
  #wanted: Amended | undefined;

  constructor(head: Head) {
    this.#head = head;
  }

  /** It takes the place of an unfinished one. */
  ask(wanted: Amended): void {
    this.#wanted = wanted;
    this.advance();
  }

  /** The store first: a replica that does not hear of it does when it is opened. Who asked last. */
  advance(): void {
    const { state, changer, members, host } = this.#head;
    const { known, pending } = changer;
    const wanted = this.#wanted;
    if (wanted === undefined || state !== 'serving' || pending !== undefined) return;
    if (!wanted.isIn(known)) {
      host.onEvent(wanted.event);
      this.#head.transact(wanted.make(known, host.newWriter()), () => undefined);
    } else if (members.all().every((each) => !each.isOpen || each.keptEpoch >= known.epoch)) {
      this.#wanted = undefined;
      wanted.onDone();
    }
  }
}
