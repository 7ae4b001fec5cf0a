/**
 * Which blocks of a volume a read may find unreadable (EIO) after drive writes that failed: those that held nothing before a change whose
 * data may have failed, until a change of the block succeeds. The store writes such data straight to its place, beside the record that
 * promises it. What a block held before must survive a failed change: such a block is never in here.
 */

import type { Change } from './model.ts';

/** `by` may have left the block without bytes. */
type Trouble = {
  readonly by: Change;
  /** Acknowledged changes of the block that were called later: each alone ends it, unless a power cut takes it back. */
  healers: Change[];
};

export class Unreadable {
  readonly #troubles = new Map<number, Trouble[]>();

  /** A drive write failed while `by` was under way, which touches `block`, empty till then. */
  add(block: number, by: Change): void {
    const troubles = this.#troubles.get(block) ?? [];
    if (troubles.some((trouble) => trouble.by === by)) return;
    this.#troubles.set(block, [...troubles, { by, healers: [] }]);
  }

  /** `change` of `block` was acknowledged: all of the block can be read, if only a part was written. */
  heal(block: number, change: Change): void {
    for (const { by, healers } of this.#troubles.get(block) ?? []) {
      if (by.number <= change.number && !healers.some(({ flushed }) => flushed)) {
        healers.push(change);
      }
    }
  }

  /** Whether a read called before change `before` may find `block` unreadable. */
  has(block: number, before: number): boolean {
    const troubles = this.#troubles.get(block) ?? [];
    return troubles.some(
      ({ by, healers }) => by.number < before && !healers.some(({ number }) => number < before),
    );
  }

  /** Power went: what was not flushed may not have happened. */
  cut(): void {
    for (const troubles of this.#troubles.values()) {
      for (const trouble of troubles) {
        trouble.healers = trouble.healers.filter(({ flushed }) => flushed);
      }
    }
  }

  /** A recovery ended: what the drive holds now is durable. */
  recovered(): void {
    for (const [block, troubles] of this.#troubles) {
      const left = troubles.filter(({ healers }) => healers.length === 0);
      if (left.length === 0) this.#troubles.delete(block);
      else this.#troubles.set(block, left);
    }
  }

  /** All blocks that may be unreadable now or after a power cut. */
  blocks(): number[] {
    return [...this.#troubles.keys()];
  }
}
