/**
 * Rot at rest: bits that flip while nobody looks, after all that was written is flushed and the log says so. Whatever flips,
 * the store gives right bytes, EIO, or refuses to open.
 */

import type { Prng } from '../src/lib/prng.ts';
import type { SimDisk } from './sim-disk.ts';
import type { Geometry } from './store-under-test.ts';

export const ROT_PLACES = ['superblock', 'log', 'rest'] as const;
export type RotPlace = (typeof ROT_PLACES)[number];

const PAGE_BYTES = 4096;

/** Flips bits of `disk` in one place; returns where, for messages. */
export function rot(
  disk: SimDisk,
  options: { readonly prng: Prng; readonly place: RotPlace; readonly geometry: Geometry },
): string {
  const { prng, place, geometry } = options;
  const flipped: number[] = [];
  const flip = (page: number): void => {
    const at = page * PAGE_BYTES + (prng.chance(50) ? prng.below(PAGE_BYTES) : prng.below(64));
    disk.flip(at, 1 << prng.below(8));
    flipped.push(at);
  };
  const pages = disk.sizeBytes / PAGE_BYTES;
  const logEnd = 2 + geometry.logBytes / PAGE_BYTES;
  if (place === 'superblock') {
    // A superblock and its mirror: the other number must not take over silently.
    const slot = prng.below(2);
    flip(slot);
    if (prng.chance(70)) flip(pages - 2 + slot);
  } else {
    const isThere = (page: number): boolean =>
      place === 'log' ? page >= 2 && page < logEnd : page >= logEnd && page < pages - 2;
    const candidates = disk.writtenPages().filter((page) => isThere(page) && disk.isWritten(page));
    // In the log one at a time: a frame and the mark that vouches for it, both gone, look like the log's end.
    for (
      let count = place === 'log' ? 1 : prng.pick([1, 1, 3]);
      count > 0 && candidates.length > 0;
      count--
    ) {
      flip(prng.pick(candidates));
    }
  }
  return `rot at ${flipped.join(', ')}`;
}
