import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestGapMs, readLatencies } from './gaps.ts';

test('longestGapMs looks at all streams together', () => {
  const logs = ['5, 100, 0, 4096, 0\n65, 90, 1, 4096, 0\n', '30, 1, 0, 4096, 0\n'];
  assert.equal(longestGapMs(logs, 70), 35);
});

test('longestGapMs counts a stall at the start and at the end', () => {
  assert.equal(longestGapMs(['500, 1, 0, 4096, 0\n'], 600), 500);
  assert.equal(longestGapMs(['500, 1, 0, 4096, 0\n'], 9000), 8500);
  assert.equal(longestGapMs([], 1000), 1000);
});

test('readLatencies keeps reads and writes apart', () => {
  const { read, write } = readLatencies(['5, 1000, 0, 4096, 0\n6, 8000, 1, 4096, 0\n']);
  assert.deepEqual([read.count, write.count], [1, 1]);
  assert.ok(Math.abs(write.percentileUs(99) - 8) < 0.1);
});
