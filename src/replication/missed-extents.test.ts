import assert from 'node:assert/strict';
import { test } from 'node:test';
import { epochOf, missedExtents } from './missed-extents.ts';

const entry = (extent: number, stamp: number, dataMask = 1) => ({ extent, stamp, dataMask });

test('a base counts in its own lineage only', () => {
  assert.equal(epochOf({ lineage: 3, epoch: 7 }, 3), 7);
  assert.equal(epochOf({ lineage: 2, epoch: 7 }, 3), undefined);
  assert.equal(epochOf(undefined, 3), undefined);
});

test('missed is what either side changed since, and where one has data that the other has not', () => {
  const ours = [entry(1, 5), entry(2, 8), entry(3, 5), entry(5, 5, 3)];
  const theirs = [entry(1, 5), entry(2, 5), entry(3, 9), entry(4, 5), entry(5, 5)];
  assert.deepEqual(missedExtents(ours, theirs, 7), [2, 3, 4, 5]);
  assert.deepEqual(missedExtents(ours, theirs, undefined), [1, 2, 3, 4, 5]);
  assert.deepEqual(missedExtents(ours.slice(0, 1), [], 7), [1]);
});
