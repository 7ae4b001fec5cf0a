/** The growth of a volume that its client asked for (docs/replication.md, "Growth"). */

import type { Head } from './head.ts';
import { resized } from './record.ts';

export class Growth {
  readonly #head: Head;
  #wanted: { readonly sizeBytes: number; readonly onDone: () => void } | undefined;

  constructor(head: Head) {
    this.#head = head;
  }

  /** `onDone` when clients may use that size. It takes the place of an unfinished one. */
  ask(sizeBytes: number, onDone: () => void): void {
    this.#wanted = { sizeBytes, onDone };
    this.advance();
  }

  /** The store first: a replica that does not hear of it does when it is opened. The client last. */
  advance(): void {
    const { state, changer, members, host } = this.#head;
    const { known, pending } = changer;
    const wanted = this.#wanted;
    if (wanted === undefined || state !== 'serving' || pending !== undefined) return;
    if (known.sizeBytes < wanted.sizeBytes) {
      host.onEvent('grown');
      this.#head.transact(resized(known, wanted.sizeBytes, host.newWriter()), () => undefined);
    } else if (members.all().every((each) => !each.isOpen || each.keptEpoch >= known.epoch)) {
      this.#wanted = undefined;
      wanted.onDone();
    }
  }
}
