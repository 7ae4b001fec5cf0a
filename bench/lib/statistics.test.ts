import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, pairedRatios, summarize } from './statistics.ts';

test('median takes the middle, or the mean of the two middle values', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test('summarize keeps the extremes', () => {
  assert.deepEqual(summarize([5, 1, 9]), { count: 3, median: 5, min: 1, max: 9 });
});

test('pairedRatios leaves out rounds that one side lacks', () => {
  assert.deepEqual(pairedRatios([2, 9, 4], [1, 3]), [2, 3]);
  assert.deepEqual(pairedRatios([2], [0]), []);
});
