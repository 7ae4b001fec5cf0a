/** A first-in first-out queue of slots, through {@link SlotPool.next}. A slot is in one such queue at a time. */

import { NONE, type SlotPool } from './slots.ts';

export class SlotQueue {
  readonly #slots: SlotPool;
  /** The first slot, or NONE. */
  first: number = NONE;
  #last: number = NONE;
  count = 0;

  constructor(slots: SlotPool) {
    this.#slots = slots;
  }

  push(slot: number): void {
    this.#slots.next[slot] = NONE;
    if (this.#last === NONE) this.first = slot;
    else this.#slots.next[this.#last] = slot;
    this.#last = slot;
    this.count += 1;
  }

  /** Takes the first slot out; NONE if there is none. */
  shift(): number {
    const slot = this.first;
    if (slot === NONE) return NONE;
    this.first = this.#slots.next[slot]!;
    if (this.first === NONE) this.#last = NONE;
    this.count -= 1;
    return slot;
  }
}
