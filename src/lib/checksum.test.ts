import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checksumModule } from '../../tools/build-wasm.ts';
import { checksumOf } from './checksum.ts';

const MASK = (1n << 64n) - 1n;
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const rotl = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (64n - by))) & MASK;
const round = (lane: bigint, input: bigint): bigint =>
  (rotl((lane + input * P2) & MASK, 31n) * P1) & MASK;

/** XXH64 as the specification writes it, for multiples of 32 bytes. */
function reference(bytes: Uint8Array, seed: bigint): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK];
  for (let at = 0; at < bytes.length; at += 8) {
    const lane = (at >> 3) & 3;
    lanes[lane] = round(lanes[lane] ?? 0n, view.getBigUint64(at, true));
  }
  const [a = 0n, b = 0n, c = 0n, d = 0n] = lanes;
  let hash = (rotl(a, 1n) + rotl(b, 7n) + rotl(c, 12n) + rotl(d, 18n)) & MASK;
  for (const lane of [a, b, c, d]) hash = ((hash ^ round(0n, lane)) * P1 + P4) & MASK;
  hash = (hash + BigInt(bytes.length)) & MASK;
  hash = ((hash ^ (hash >> 33n)) * P2) & MASK;
  hash = ((hash ^ (hash >> 29n)) * P3) & MASK;
  return Number(BigInt.asIntN(32, hash ^ (hash >> 32n)));
}

test('the checksum is XXH64, low half, at any address and seed', () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const bytes = new Uint8Array(memory.buffer);
  const checksum = checksumOf(memory);
  let state = 7;
  for (let at = 0; at < bytes.length; at++) bytes[at] = state = (state * 167 + 13) & 0xff;
  for (const [address, length, low, high] of [
    [0, 32, 0, 0],
    [64, 4096, 1, 2],
    [4097, 4096, 0xffffffff, 0xdeadbeef],
    [8192, 64, 0x80000000, 5],
  ] as const) {
    const seed = (BigInt(high) << 32n) | BigInt(low);
    const expected = reference(bytes.subarray(address, address + length), seed);
    assert.equal(checksum(address, length, low, high), expected);
  }
  // The published value of XXH64 for 32 zero bytes would move if the reference itself were wrong.
  assert.equal(reference(new Uint8Array(32), 0n), Number(BigInt.asIntN(32, 0xf6e9be5d70632cf5n)));
});

test('checksum-wasm.ts is what checksum.wat compiles to', async () => {
  const committed = readFileSync(new URL('./checksum-wasm.ts', import.meta.url), 'utf8');
  assert.equal(committed, await checksumModule());
});
