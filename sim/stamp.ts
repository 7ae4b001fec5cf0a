/**
 * What the simulator writes: each 512-byte sector says which volume, sector and write it comes from, so that a wrong byte
 * tells where it came from.
 *
 *     word 0        magic
 *     word 1, 2, 3  volume, sector, write (from 1)
 *     word 4..128   derived from these, so that a mix of two sectors is neither
 */

import { SECTOR_BYTES } from './sim-disk.ts';

const MAGIC = 0x484f4c44;
const WORDS = SECTOR_BYTES / 4;
const STEP = 0x9e3779b1;

/** `write` of a sector of zeros. */
export const ZEROS = 0;

export type Origin =
  | { readonly kind: 'zeros' }
  | {
      readonly kind: 'stamp';
      readonly volume: number;
      readonly sector: number;
      readonly write: number;
    }
  | { readonly kind: 'mixed'; readonly first: string };

/** Fills the sector that begins at word `at`. */
export function stamp(
  words: Uint32Array,
  at: number,
  origin: { readonly volume: number; readonly sector: number; readonly write: number },
): void {
  words[at] = MAGIC;
  words[at + 1] = origin.volume;
  words[at + 2] = origin.sector;
  words[at + 3] = origin.write;
  let word = seedOf(origin.volume, origin.sector, origin.write);
  for (let i = 4; i < WORDS; i++) {
    word = (word + STEP) | 0;
    words[at + i] = word;
  }
}

/** Whether the sector at word `at` is exactly write `write` of its place. */
export function isStamp(
  words: Uint32Array,
  at: number,
  origin: { readonly volume: number; readonly sector: number; readonly write: number },
): boolean {
  if (origin.write === ZEROS) return isZeros(words, at);
  if (words[at] !== MAGIC || words[at + 1] !== origin.volume) return false;
  if (words[at + 2] !== origin.sector || words[at + 3] !== origin.write) return false;
  return isBody(words, at, seedOf(origin.volume, origin.sector, origin.write));
}

/** Where the sector at word `at` comes from. */
export function originOf(words: Uint32Array, at: number): Origin {
  if (isZeros(words, at)) return { kind: 'zeros' };
  const volume = words[at + 1] ?? 0;
  const sector = words[at + 2] ?? 0;
  const write = words[at + 3] ?? 0;
  if (words[at] === MAGIC && isBody(words, at, seedOf(volume, sector, write))) {
    return { kind: 'stamp', volume, sector, write };
  }
  const first = [...words.subarray(at, at + 6)].map((word) => word.toString(16)).join(' ');
  return { kind: 'mixed', first };
}

function isZeros(words: Uint32Array, at: number): boolean {
  for (let i = 0; i < WORDS; i++) if (words[at + i] !== 0) return false;
  return true;
}

function isBody(words: Uint32Array, at: number, seed: number): boolean {
  let word = seed;
  for (let i = 4; i < WORDS; i++) {
    word = (word + STEP) | 0;
    if (words[at + i] !== word >>> 0) return false;
  }
  return true;
}

function seedOf(volume: number, sector: number, write: number): number {
  let hash = Math.imul(volume ^ 0x2545f491, 0x85ebca6b);
  hash = Math.imul(hash ^ sector ^ (hash >>> 15), 0xc2b2ae35);
  return Math.imul(hash ^ write ^ (hash >>> 13), 0x27d4eb2f);
}
