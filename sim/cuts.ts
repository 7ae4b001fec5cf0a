/** What a power cut leaves of the cache, by policy: random bits find less than all, none, and all but one. */

import type { Prng } from '../src/lib/prng.ts';
import type { CachedWrite, CutChoice, SimDisk } from './sim-disk.ts';

export const CUT_POLICIES = [
  'all',
  'none',
  'sectors',
  'writes',
  'one-lost',
  'one-kept',
  'newest',
  'oldest',
] as const;
export type CutPolicy = (typeof CUT_POLICIES)[number];

/** Cuts `disk` by `policy`. With `tearPercent`, so many sectors are left as a mix of two contents. */
export function cutDisk(
  disk: SimDisk,
  options: { readonly prng: Prng; readonly policy: CutPolicy; readonly tearPercent: number },
): void {
  const { prng, policy, tearPercent } = options;
  const tear = (): number => (prng.chance(tearPercent) ? 1 + prng.below(511) : 0);
  disk.cut(choice(disk.cachedWrites(), prng, policy), tearPercent > 0 ? tear : undefined);
}

function choice(cached: readonly CachedWrite[], prng: Prng, policy: CutPolicy): CutChoice {
  switch (policy) {
    case 'all':
      return (writes) => writes.length - 1;
    case 'none':
      return () => -1;
    case 'sectors':
      return (writes) => prng.below(writes.length + 1) - 1;
    case 'writes':
      return keptOnly(new Set(cached.filter(() => prng.chance(50))));
    case 'one-lost': {
      const lost = cached[prng.below(cached.length)];
      return keptOnly(new Set(cached.filter((write) => write !== lost)));
    }
    case 'one-kept': {
      const kept = cached[prng.below(cached.length)];
      return keptOnly(new Set(cached.filter((write) => write === kept)));
    }
    case 'newest':
      return keptOnly(new Set(cached.slice(prng.below(cached.length + 1))));
    case 'oldest':
      return keptOnly(new Set(cached.slice(0, prng.below(cached.length + 1))));
  }
}

/** Each sector gets the newest content of a kept write. */
export function keptOnly(kept: ReadonlySet<CachedWrite>): CutChoice {
  return (writes) => writes.findLastIndex((write) => kept.has(write));
}
