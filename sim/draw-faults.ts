/** The faults of histories that are about faults. */

import type { Prng } from '../src/lib/prng.ts';
import { type Fault, NO_SPACE, promised, READ_ERROR } from './faults.ts';
import type { Plan } from './plan.ts';
import type { StoreUnderTest } from './store-under-test.ts';

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

/**
 * Whole and half extents over flushed content, while a handful of writes outside of the log fail: data mostly, sometimes what is applied,
 * or a page.
 */
export function drawFailedWrites(prng: Prng, plan: Plan, store: StoreUnderTest): Partial<Plan> {
  return {
    faults: drawWriteErrors(prng, plan, store),
    tearPercent: 0,
    depth: prng.pick([1, 2, 8]),
    requestBytesMax: prng.pick([32, 64, 128]) * KIB,
    alignBytes: prng.pick([4096, 4096, 512]),
    weights: { read: 10, write: 12, zero: prng.pick([0, 1]), trim: prng.pick([0, 2]), flush: 5 },
    controlPercent: prng.pick([0, 0, 10]),
    control: {
      create: 0,
      remove: 0,
      resize: 0,
      snapshot: store.hasSnapshots ? 5 : 0,
      removeSnapshot: store.hasSnapshots ? 2 : 0,
      replica: 0,
    },
    requestsPerLeg: 80,
  };
}

function drawWriteErrors(prng: Prng, plan: Plan, store: StoreUnderTest): Fault[] {
  const { logBytes, sizeBytes } = plan.geometry;
  const within = { fromBytes: store.hasLog ? logBytes + 64 * KIB : 8 * KIB, toBytes: sizeBytes };
  const gap = prng.pick([5, 30, 100]);
  const faults: Fault[] = [];
  for (let nth = 0; faults.length < 6;) {
    nth += 1 + prng.below(gap);
    const give = prng.pick<Fault['give']>([READ_ERROR, NO_SPACE, { kind: 'short' }]);
    faults.push({ on: 'write', nth, within, give });
  }
  return faults;
}
