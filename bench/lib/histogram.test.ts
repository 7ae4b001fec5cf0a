import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyHistogram } from './histogram.ts';

function near(found: number, wanted: number): void {
  assert.ok(Math.abs(found / wanted - 1) < 0.006, `${found} is not about ${wanted}`);
}

test('percentileUs is within half a percent', () => {
  const histogram = new LatencyHistogram();
  for (let us = 1; us <= 1000; us++) histogram.add(us * 1000);
  near(histogram.percentileUs(50), 500);
  near(histogram.percentileUs(99), 990);
  near(histogram.percentileUs(99.9), 999);
  assert.equal(new LatencyHistogram().percentileUs(99), Infinity);
});

test('a minute of stalls in ten shows in the percentiles of all ten, and not in their median', () => {
  const all = new LatencyHistogram();
  for (let minute = 0; minute < 10; minute++) {
    const one = new LatencyHistogram();
    for (let index = 0; index < 1000; index++) {
      one.add(minute === 3 && index < 200 ? 50_000_000 : 100_000);
    }
    all.merge(one);
  }
  assert.equal(all.count, 10_000);
  near(all.percentileUs(97), 100);
  near(all.percentileUs(99), 50_000);
});
