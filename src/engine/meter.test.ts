import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import { LATENCY_BUCKET_COUNT, Meter, OPERATION_KINDS, bucketBoundUs } from './meter.ts';

test('each operation is counted in its kind, with its bytes or as an error', () => {
  const meter = new Meter();
  meter.inFlight = 3;
  meter.done(OPERATION_KINDS.indexOf('write'), 4096, 100, 0);
  meter.done(OPERATION_KINDS.indexOf('write'), 8192, 50, EIO);
  meter.done(OPERATION_KINDS.indexOf('trim'), 512, 1, 0);
  assert.equal(meter.inFlight, 0);
  assert.equal(meter.changeCount, 3);
  const { latency, ...writes } = meter.counts('write');
  assert.deepEqual(writes, { count: 2, bytes: 4096, errors: 1, us: 150 });
  assert.equal(latency.length, LATENCY_BUCKET_COUNT);
  assert.equal(meter.counts('read').count, 0);
});

test('a latency is in the first bucket whose bound is above it', () => {
  for (const us of [0, 15.9, 16, 31, 32, 1000, 65_535, 65_536, 4_000_000, 5_000_000, 3e9, 1e12]) {
    const meter = new Meter();
    meter.done(0, 0, us, 0);
    const bucket = meter.counts('read').latency.indexOf(1);
    assert.ok(us < bucketBoundUs(bucket), `${us} µs is below the bound of bucket ${bucket}`);
    assert.ok(bucket === 0 || us >= bucketBoundUs(bucket - 1), `${us} µs is in no earlier bucket`);
  }
});
