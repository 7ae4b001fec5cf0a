/** Goes over an image byte by byte and counts what came of each rotten one. */

import { Prng } from '../../src/lib/prng.ts';
import { BLOCK_BYTES, Poisoned, type RotImage, type RotRegion } from './rot-image.ts';

export type RotPlan = {
  readonly seed: number;
  /** Every how many bytes of a region one is flipped; 1 is every byte, 0 none. */
  readonly strides: Readonly<Record<RotRegion, number>>;
  /** One of `count` runs that share the work: those with byte number % count === index. */
  readonly shard?: { readonly index: number; readonly count: number };
  readonly onProgress?: (line: string) => void;
};

export type RotReport = {
  readonly flips: number;
  /** By region: how many flips did no harm, were refused by name, or gave EIO. */
  readonly outcomes: ReadonlyMap<
    RotRegion,
    Readonly<Record<'unharmed' | 'refused' | 'errors', number>>
  >;
  /** Wrong bytes, crashes: sentences for people. Empty is what the bar asks for. */
  readonly poisoned: readonly string[];
};

/** Reported cases; the first ones tell the story. */
const POISONED_COUNT_MAX = 20;

export async function runRot(image: RotImage, plan: RotPlan): Promise<RotReport> {
  const random = new Prng(plan.seed);
  const shard = plan.shard ?? { index: 0, count: 1 };
  const outcomes = new Map<RotRegion, Record<'unharmed' | 'refused' | 'errors', number>>();
  const poisoned: string[] = [];
  let flips = 0;
  let turn = 0;
  for (const { number, region } of image.blocks()) {
    const stride = plan.strides[region];
    if (stride === 0) continue;
    // The place within each stride differs from block to block, so that a coarse run sees other bytes in each.
    for (let at = random.below(stride); at < BLOCK_BYTES; at += stride) {
      const bits = 1 + random.below(255);
      if (turn++ % shard.count !== shard.index) continue;
      flips++;
      const counts = outcomes.get(region) ?? { unharmed: 0, refused: 0, errors: 0 };
      outcomes.set(region, counts);
      const complaint = await flipOnce(
        image,
        { positionBytes: number * BLOCK_BYTES + at, bits },
        counts,
      );
      if (complaint === undefined) continue;
      poisoned.push(
        `${region}, block ${number}, byte ${at}, bits 0x${bits.toString(16)}: ${complaint}`,
      );
      if (poisoned.length >= POISONED_COUNT_MAX) return { flips, outcomes, poisoned };
    }
    plan.onProgress?.(`${region} block ${number}: ${flips} flips so far`);
  }
  return { flips, outcomes, poisoned };
}

async function flipOnce(
  image: RotImage,
  flip: { readonly positionBytes: number; readonly bits: number },
  counts: Record<'unharmed' | 'refused' | 'errors', number>,
): Promise<string | undefined> {
  try {
    const outcome = await image.flip(flip.positionBytes, flip.bits);
    counts[outcome.kind]++;
    return undefined;
  } catch (error) {
    // An assertion that fails on rotten input is a crash loop: the engine would exit at each start.
    if (error instanceof Poisoned) return error.message;
    return `crash: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}
