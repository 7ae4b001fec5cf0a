import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SEEN_BYTES_MAX } from '../store/volume.ts';
import type { ReplicaState } from './replica.ts';
import { formatState, parseState } from './state-bytes.ts';

const id = (digit: string): string => digit.repeat(32);

const LARGEST: ReplicaState = {
  seen: {
    lineage: 2 ** 32,
    epoch: 2 ** 52,
    writer: id('a'),
    head: { engine: id('b'), start: 2 ** 40, attempt: 2 ** 20 },
    attachment: { attachId: id('c'), boot: id('d') },
    members: new Map(['1', '2', '3', '4', '5'].map((digit) => [id(digit), 2 ** 32])),
    minimum: 3,
    sizeBytes: 2 ** 50,
  },
  base: { lineage: 2 ** 32, epoch: 2 ** 52 },
};

test('what a replica keeps comes back as it was', () => {
  const small: ReplicaState = {
    seen: {
      lineage: 1,
      epoch: 0,
      writer: 'w1',
      head: undefined,
      attachment: undefined,
      members: new Map([['r1', 1]]),
      minimum: 1,
      sizeBytes: 4096,
    },
    base: undefined,
  };
  for (const state of [small, LARGEST, { seen: undefined, base: undefined }]) {
    assert.deepEqual(parseState(formatState(state)), state);
  }
});

test('five members with ids of 32 hex digits fit what the drive has room for', () => {
  assert.ok(formatState(LARGEST).length <= SEEN_BYTES_MAX, `${formatState(LARGEST).length} bytes`);
});

test('what another build wrote, or nobody, is refused by name', () => {
  const bytes = formatState(LARGEST);
  assert.throws(() => parseState(Uint8Array.of(2, ...bytes.subarray(1))), /version 2/);
  for (let length = 1; length < bytes.length; length++) {
    assert.throws(() => parseState(bytes.subarray(0, length)), /REPLICA_STATE|ends in its middle/);
  }
  assert.throws(() => parseState(Uint8Array.of(...bytes, 0)), /more of it/);
});
