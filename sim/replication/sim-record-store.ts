/** The cluster store of the simulation: one record, conditional transactions; requests and answers are late, lost, and the store is away. */

import { type Record, isSame } from '../../src/replication/record.ts';
import type { TransactionOutcome } from '../../src/replication/set-changer.ts';
import type { World } from '../world.ts';

const ANSWER_LIMIT_US = 150_000;

export class SimRecordStore {
  readonly #world: World;
  record: Record;
  isAway = false;
  /** Percent of transactions whose answer is lost, or that take effect late. */
  unknownPercent = 0;
  readonly onCommit: (record: Record) => void;
  /** A transaction is asked for. */
  onSubmit: (next: Record) => void = () => undefined;
  /** Writers of transactions that were sent and may still take effect. */
  readonly inFlight = new Set<string>();

  constructor(world: World, record: Record, onCommit: (record: Record) => void) {
    this.#world = world;
    this.record = record;
    this.onCommit = onCommit;
  }

  transact(expected: Record, next: Record, onOutcome: (outcome: TransactionOutcome) => void): void {
    const { prng } = this.#world;
    this.onSubmit(next);
    if (this.isAway) {
      this.#world.schedule(ANSWER_LIMIT_US, () => onOutcome({ kind: 'unknown' }));
      return;
    }
    const isUnknown = prng.chance(this.unknownPercent);
    // A request may wander about for long after its sender has given it up.
    const delayUs = isUnknown && prng.chance(50) ? prng.below(600_000) : 200 + prng.below(3000);
    const isLost = isUnknown && prng.chance(30);
    if (isUnknown) this.#world.schedule(ANSWER_LIMIT_US, () => onOutcome({ kind: 'unknown' }));
    if (isLost) return;
    this.inFlight.add(next.writer);
    this.#world.schedule(delayUs, () => {
      this.inFlight.delete(next.writer);
      const outcome = this.#apply(expected, next);
      if (!isUnknown) this.#world.schedule(200 + prng.below(1000), () => onOutcome(outcome));
    });
  }

  #apply(expected: Record, next: Record): TransactionOutcome {
    if (!isSame(this.record, expected)) return { kind: 'conflict', record: this.record };
    this.record = next;
    this.#world.trace(
      `store: epoch ${next.epoch} head ${next.head?.engine ?? '-'}.${next.head?.start ?? ''} members ${[...next.members].map(([id, life]) => `${id}:${life}`).join(' ')}`,
    );
    this.onCommit(next);
    return { kind: 'committed' };
  }
}
