import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksumOf } from '../lib/checksum.ts';
import { planLayout } from './geometry.ts';
import {
  formatSuperblock,
  NO_BOOT,
  parseSuperblock,
  REPLICAS,
  type ParsedSuperblock,
  type Superblock,
} from './superblock.ts';

const ADDRESS = 8192;
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const words = new Uint32Array(memory.buffer);
const bytes = new Uint8Array(memory.buffer);
const at = { address: ADDRESS, checksum: checksumOf(memory) };

function sample(): Superblock {
  const layout = planLayout({ sizeBytes: 3 * 2 ** 40 });
  assert.ok(layout !== undefined);
  return {
    layout,
    driveUuid: [0x01234567, 0x89abcdef, 0xfedcba98, 0x76543210],
    clusterUuid: [1, 2, 3, 0xffffffff],
    n: 2 ** 40 + 17,
    tailLsn: 2 ** 45 + 3,
    tailBlock: 12_345,
    // Checksums are signed.
    tailChain: -5,
    saltLow: 0xdeadbeef,
    saltHigh: 0xcafebabe,
    incarnation: 99,
    clean: true,
    directoryDigestLow: 0x811c9dc5,
    directoryDigestHigh: 0x9e3779b1,
    nextVolumeNumber: 4_000_000_000,
    features: REPLICAS,
    life: 3,
    bootId: [5, 6, 7, 0xfffffffe],
    marksLsn: 2 ** 45 + 9,
    generation: 2,
  };
}

const parse = (): ParsedSuperblock => parseSuperblock(words, at);

/** Puts `value` into word `index` and signs the block anew, as another version of this program would have. */
function resign(index: number, value: number): void {
  const w = ADDRESS >>> 2;
  words[w + index] = value;
  words[w + 3] = 0;
  words[w + 3] = at.checksum(ADDRESS, 4096, words[w + 2] ?? 0, 0);
}

test('a superblock is read as it was written', () => {
  for (const superblock of [sample(), { ...sample(), clean: false, n: 1, tailChain: 7 }]) {
    bytes.fill(0xee);
    formatSuperblock(words, superblock, at);
    assert.deepEqual(parse(), { kind: 'ok', superblock });
  }
});

test('reading leaves the block as it is', () => {
  formatSuperblock(words, sample(), at);
  const before = bytes.slice();
  parse();
  assert.deepEqual(bytes, before);
});

test('a change of any byte is noticed, be it one bit or all', () => {
  formatSuperblock(words, sample(), at);
  for (let index = 0; index < 4096; index++) {
    const bit = 1 << (index % 8);
    for (const flip of [bit, 0xff]) {
      bytes[ADDRESS + index] = (bytes[ADDRESS + index] ?? 0) ^ flip;
      // A magic that is not ours is no superblock of ours; everything else is one that rotted.
      assert.equal(parse().kind, index < 8 ? 'foreign' : 'rotten', `byte ${index}`);
      bytes[ADDRESS + index] = (bytes[ADDRESS + index] ?? 0) ^ flip;
    }
  }
  assert.equal(parse().kind, 'ok');
});

test('what a newer version wrote is refused by name', () => {
  const reasonOf = (index: number, value: number): string => {
    formatSuperblock(words, sample(), at);
    resign(index, value);
    const parsed = parse();
    return parsed.kind === 'unsupported' ? parsed.reason : parsed.kind;
  };
  assert.equal(reasonOf(2, 2), 'format version 2, this build reads 1');
  assert.equal(reasonOf(6, 0x40), 'feature bits 0x40');
  assert.equal(reasonOf(7, 9), 'checksum algorithm 9');
  assert.equal(reasonOf(6, REPLICAS | 2), 'feature bits 0x2');
  // Compatible features are none of an older build's business.
  assert.equal(reasonOf(4, 1), 'ok');
});

test('a drive without replicas is as older builds know it', () => {
  const plain = { ...sample(), features: 0, life: 0, bootId: NO_BOOT, marksLsn: 0, generation: 0 };
  formatSuperblock(words, plain, at);
  const w = ADDRESS >>> 2;
  assert.equal(words[w + 6], 0);
  assert.ok(words.subarray(w + 41, w + 1024).every((word) => word === 0));
});

test('an empty block is foreign', () => {
  bytes.fill(0);
  assert.equal(parse().kind, 'foreign');
});
