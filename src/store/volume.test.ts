import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Volume,
  formatTableRecord,
  hexWords,
  parseTableRecord,
  SEEN_BYTES_MAX,
  type TableRecord,
  wordsHex,
} from './volume.ts';

const UUID = '0123456789abcdef00000000fedcba98';
const AT = 10;

function roundTrip(record: TableRecord): TableRecord {
  const words = new Uint32Array(200).fill(0xeeeeeeee);
  formatTableRecord(words, AT, record);
  assert.equal(words[AT - 1], 0xeeeeeeee);
  assert.equal(words[AT + 126], 0xeeeeeeee, 'a record has 126 words');
  return parseTableRecord(words, AT);
}

test('records of the volume table are read as they were written', () => {
  for (const kind of ['volume', 'snapshot', 'tombstone'] as const) {
    for (const state of ['live', 'deleting'] as const) {
      for (const attachId of [undefined, 'f'.repeat(32), `${'0'.repeat(31)}1`]) {
        const record: TableRecord = {
          kind,
          number: 0xffffffff,
          uuid: UUID,
          sizeBytes: 16 * 2 ** 40,
          epoch: 0xfffffffe,
          birth: 70_000,
          state,
          attachId,
          seen: undefined,
        };
        assert.deepEqual(roundTrip(record), record);
        for (const seen of [new Uint8Array(), new Uint8Array(SEEN_BYTES_MAX).fill(0xfe)])
          assert.deepEqual(roundTrip({ ...record, seen }), { ...record, seen });
      }
    }
  }
});

test('a free record, a blank one and one of an unknown kind are free', () => {
  assert.deepEqual(roundTrip({ kind: 'free' }), { kind: 'free' });
  assert.deepEqual(parseTableRecord(new Uint32Array(126), 0), { kind: 'free' });
  assert.deepEqual(parseTableRecord(new Uint32Array(126).fill(9), 0), { kind: 'free' });
});

test('ids are 32 hex digits, as four words', () => {
  assert.deepEqual(hexWords(UUID), [0x01234567, 0x89abcdef, 0, 0xfedcba98]);
  assert.equal(wordsHex(hexWords(UUID)), UUID);
  assert.throws(() => hexWords('123'), /32 hex digits/);
  assert.throws(() => hexWords('A'.repeat(32)), /32 hex digits/);
});

function volume(sizeBytes: number): Volume {
  return new Volume({
    number: 1,
    slot: 0,
    uuid: UUID,
    sizeBytes,
    epoch: 3,
    birth: 1,
    attachId: undefined,
  });
}

test('an era stands for one pair of birth and epoch', () => {
  const it = volume(2 ** 20);
  const first = it.era;
  assert.deepEqual([it.birthOf(first), it.epochOf(first)], [1, 3]);
  it.birth = 2;
  it.eraChanged();
  assert.notEqual(it.era, first);
  assert.equal(it.eraOf(1, 3), first);
  // Epochs that agree in their low 26 bits are still two.
  const far = it.eraOf(1, 3 + 2 ** 26);
  assert.notEqual(far, first);
  assert.equal(it.epochOf(far), 3 + 2 ** 26);
});

test('eras run out with a bug, and not by meaning two things', () => {
  const it = volume(2 ** 20);
  for (let birth = 1; birth <= 65_536; birth++) it.eraOf(birth, 0);
  assert.equal(it.birthOf(it.eraOf(65_536, 0)), 65_536);
  assert.throws(() => it.eraOf(65_537, 0), /65,536 pairs/);
});

test('room in the map grows with the size, and never shrinks', () => {
  const it = volume(2 ** 20);
  it.leaves[0] = 7;
  it.fitLeaves(2 ** 30);
  assert.deepEqual([it.leaves.length, it.leaves[0]], [32, 7]);
  it.fitLeaves(2 ** 20);
  assert.equal(it.leaves.length, 32);
});
