import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import { BUCKET_COUNT, bucketOf } from '../lib/histogram.ts';
import { Meter, OPERATION_KINDS } from './meter.ts';

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
  assert.equal(latency.length, BUCKET_COUNT);
  assert.deepEqual([latency[bucketOf(100)], latency[bucketOf(50)]], [1, 1]);
  assert.equal(meter.errorCount, 1);
  assert.equal(meter.counts('read').count, 0);
});
