import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BUCKET_COUNT, Histogram, bucketBoundUs, bucketOf } from './histogram.ts';

test('a duration is in the first bucket whose bound is above it', () => {
  for (const us of [0, 15.9, 16, 31, 32, 1000, 65_535, 65_536, 4_000_000, 5_000_000, 3e9, 1e12]) {
    const bucket = bucketOf(us);
    assert.ok(us < bucketBoundUs(bucket), `${us} µs is below the bound of bucket ${bucket}`);
    assert.ok(bucket === 0 || us >= bucketBoundUs(bucket - 1), `${us} µs is in no earlier bucket`);
  }
});

test('a histogram counts, sums and sorts into buckets', () => {
  const histogram = new Histogram();
  for (const us of [1, 20, 20, 1e12]) histogram.add(us);
  const { count, us, latency } = histogram.durations();
  assert.deepEqual([count, us, latency.length], [4, 1e12 + 41, BUCKET_COUNT]);
  assert.deepEqual([latency[0], latency[1], latency[BUCKET_COUNT - 1]], [1, 2, 1]);
});
