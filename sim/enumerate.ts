/**
 * Exhaustive cuts of short histories: a life with 8 requests is cut as each of its I/O operations starts, each time with every subset of
 * the writes then in the drive's cache (up to 2^6; with more writes in it, all subsets of up to two lost or kept, all prefixes and suffixes).
 *
 * `node sim/enumerate.ts [--seed N] [--seeds N]`
 */

import { parseArgs } from 'node:util';
import { countOption } from '../src/lib/count-option.ts';
import { DriveSim } from './drive-sim.ts';
import { driveStoreUnderTest } from './drive-store-under-test.ts';
import { readOptions } from './options.ts';
import { drawPlan } from './focus.ts';
import type { Plan } from './plan.ts';
import type { StoreUnderTest } from './store-under-test.ts';
import { World } from './world.ts';

const EXHAUSTIVE_WRITES_MAX = 6;
const REQUESTS = 8;

export type Enumeration = { readonly operations: number; readonly cuts: number };

/** Cuts the history of `seed` everywhere. Throws the first violation, with the cut that reproduces it in front. */
export async function enumerateCuts(store: StoreUnderTest, seed: number): Promise<Enumeration> {
  let cuts = 0;
  for (let operation = 1; ; operation++) {
    const kept = await cutOnce(store, seed, { operation, keep: () => true });
    cuts++;
    if (!kept.reached) return { operations: operation - 1, cuts };
    for (const subset of subsets(kept.cached)) {
      await cutOnce(store, seed, { operation, keep: (index) => subset.has(index) });
      cuts++;
    }
  }
}

function cutOnce(
  store: StoreUnderTest,
  seed: number,
  cut: { readonly operation: number; readonly keep: (index: number) => boolean },
): ReturnType<DriveSim['runCut']> {
  const world = new World(seed);
  const plan = shortPlan(world, store);
  return new DriveSim(world, store, plan).runCut(cut).catch((error: unknown) => {
    const kept = Array.from({ length: 32 }, (_, index) => (cut.keep(index) ? '1' : '0')).join('');
    throw new Error(`seed ${seed}, cut at operation ${cut.operation}, kept writes ${kept}`, {
      cause: error,
    });
  });
}

function shortPlan(world: World, store: StoreUnderTest): Plan {
  const plan = drawPlan(world.prng, store, 'calm');
  return {
    ...plan,
    volumeBytes: [64 * 1024, 64 * 1024],
    depth: 2,
    requestsPerLeg: REQUESTS,
    requestBytesMax: 16 * 1024,
    hotPercent: 100,
    alignBytes: world.prng.pick([4096, 512]),
    weights: { read: 0, write: 10, zero: 1, trim: 4, flush: world.prng.pick([0, 3, 6]) },
    faults: [],
    mayFill: false,
  };
}

/** Sets of indexes below `count`, without the full one. */
function* subsets(count: number): Generator<ReadonlySet<number>> {
  const all = Array.from({ length: count }, (_, index) => index);
  if (count <= EXHAUSTIVE_WRITES_MAX) {
    for (let bits = 0; bits < 2 ** count - 1; bits++)
      yield new Set(all.filter((i) => ((bits >> i) & 1) === 1));
    return;
  }
  for (let at = 0; at < count; at++) {
    yield new Set(all.slice(0, at));
    if (at > 0) yield new Set(all.slice(at));
    for (let other = at; other < count; other++) {
      yield new Set([at, other]);
      yield new Set(all.filter((index) => index !== at && index !== other));
    }
  }
}

if (import.meta.main) {
  const { first, count } = readOptions(() => {
    const { values } = parseArgs({
      options: { seed: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1' } },
    });
    return {
      first: countOption('seed', values.seed, 0),
      count: countOption('seeds', values.seeds),
    };
  });
  for (let seed = first; seed < first + count; seed++) {
    const { operations, cuts } = await enumerateCuts(driveStoreUnderTest, seed);
    process.stdout.write(
      `seed ${seed}: ${cuts} cuts at ${operations} operations, nothing flushed lost\n`,
    );
  }
}
