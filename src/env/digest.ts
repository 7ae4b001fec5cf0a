/** A strong hash, for what a checksum of 32 bits is too weak to call equal. */

import { createHash } from 'node:crypto';

export type Digest128 = readonly [number, number, number, number];

/** 128 bits of SHA-256 over the parts, one after the other, as unsigned words. */
export function digest128(parts: Iterable<Uint8Array>): Digest128 {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  const digest = hash.digest();
  const word = (at: number): number => digest.readUInt32LE(at);
  return [word(0), word(4), word(8), word(12)];
}
