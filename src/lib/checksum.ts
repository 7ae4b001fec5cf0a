/**
 * The checksum of blocks, metadata pages and log frames: the low 32 bits of seeded XXH64, computed in WebAssembly right
 * in the arena, so that no byte is copied and nothing is allocated. 0.30 µs per 4 KiB here; a prebuilt CRC-32C addon took
 * 0.8 to 1.0 µs and needs a Buffer object per call. docs/decisions/0003-checksum.md has the comparison.
 */

import { assert } from './assert.ts';
import { CHECKSUM_WASM_BASE64 } from './checksum-wasm.ts';

/** Id of this algorithm in a superblock. */
export const CHECKSUM_XXH64_LOW32 = 1;

/**
 * Returns a signed 32-bit checksum (a small integer to the engine, never a heap number) of `lengthBytes` (a positive multiple of 32) at `address` of the arena. The seed's two
 * halves are unsigned 32-bit numbers.
 */
export type Checksum = (
  address: number,
  lengthBytes: number,
  seedLow: number,
  seedHigh: number,
) => number;

/** Makes the checksum function of one arena. */
export function checksumOf(memory: WebAssembly.Memory): Checksum {
  const bytes = Uint8Array.from(atob(CHECKSUM_WASM_BASE64), (char) => char.charCodeAt(0));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const { checksum } = instance.exports;
  assert(isChecksum(checksum), 'the module exports its function');
  return checksum;
}

/** What the module exports is known by its source, checksum.wat. */
function isChecksum(value: unknown): value is Checksum {
  return typeof value === 'function';
}
