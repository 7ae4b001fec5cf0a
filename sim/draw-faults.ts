/** The faults of a history that is about faults. */

import type { Prng } from '../src/lib/prng.ts';
import { type Fault, promised } from './faults.ts';
import type { Plan } from './plan.ts';

const KIB = 1024;

/** One or two faults of one kind; what they may cost is in faults.ts. */
export function drawFaults(prng: Prng, plan: Plan): Fault[] {
  const nth = 1 + prng.below(prng.pick([10, 60, 300]));
  // A write of the log that is lost, or overwritten by a stray one, at its very end cannot be told from one that was never made.
  const within = {
    fromBytes: plan.geometry.logBytes + 64 * KIB,
    toBytes: plan.geometry.sizeBytes - 8192,
  };
  const fault = prng.pick<() => Fault>([
    () => ({ on: 'read', nth, give: { kind: 'error', errno: 5 } }),
    () => ({ on: 'write', nth, give: { kind: 'error', errno: 5 } }),
    () => ({ on: 'write', nth, give: { kind: 'error', errno: 28 } }),
    () => ({ on: 'flush', nth: 1 + prng.below(10), give: { kind: 'error', errno: 5 } }),
    () => ({ on: 'write', nth, give: { kind: 'short' } }),
    () => ({ on: 'read', nth, give: { kind: 'short' } }),
    () => ({ on: 'write', nth, give: { kind: 'slow', delayUs: 3_000_000 } }),
    () => ({ on: 'write', nth, within, give: { kind: 'lost' } }),
    () => ({
      on: 'write',
      nth,
      within: { ...within, fromBytes: within.fromBytes + 128 * KIB },
      give: { kind: 'misdirected', byBytes: 4096 * (1 + prng.below(31)) * prng.pick([1, -1]) },
    }),
    () => ({ on: 'write', nth, within, give: { kind: 'repeated', delayUs: prng.below(20_000) } }),
    () => ({ on: 'flush', nth: 1 + prng.below(10), give: { kind: 'lie' } }),
  ]);
  const first = fault();
  // Two lies at once (a block and its checksum page, a page and its directory) may agree with each other: nobody could tell.
  return promised(first) === 'nothing-lost' ? [first, { ...first, nth: first.nth + 20 }] : [first];
}
