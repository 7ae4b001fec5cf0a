import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UsageRecord } from '../model/records.ts';
import { usageAfter } from './usage.ts';

const ID = '6c0b1b4e-0000-4000-8000-000000000001';

/** Usage after one look after the other, each [engine's start, changes counted, bytes allocated] at a minute of its own. */
function usageOf(...looks: readonly (readonly [number, number, number] | undefined)[]) {
  let usage: UsageRecord | undefined;
  for (const [minute, look] of looks.entries()) {
    const [countedSinceMs, changes, allocatedBytes] = look ?? [];
    const status = look === undefined ? undefined : { countedSinceMs, changes, allocatedBytes };
    usage = usageAfter(usage, { volumeId: ID, status, nowMs: minute });
  }
  return usage;
}

test('a volume that nobody wrote has no record, or none that changes', () => {
  assert.equal(usageOf([1, 0, 0], undefined, [1, 0, 0]), undefined);
  const before = usageOf([1, 5, 4096]);
  const status = { countedSinceMs: 1, changes: 5, allocatedBytes: 0 };
  assert.equal(usageAfter(before, { volumeId: ID, status, nowMs: 9 }), before);
});

test('a volume was written last in the minute in which its count last rose', () => {
  assert.equal(usageOf([1, 0, 0], [1, 3, 0], [1, 3, 0])?.lastWrittenAtMs, 1);
  assert.equal(usageOf([1, 3, 0], [1, 4, 0], undefined)?.lastWrittenAtMs, 1);
});

test('an engine that began anew counts from zero', () => {
  assert.equal(usageOf([1, 9, 0], [2, 0, 0])?.lastWrittenAtMs, 0);
  assert.equal(usageOf([1, 9, 0], [2, 2, 0])?.lastWrittenAtMs, 1);
  assert.equal(usageOf([1, 9, 0], [2, 9, 0], [2, 9, 0])?.lastWrittenAtMs, 1);
});

test('the high water is the most that was seen, with or without writes', () => {
  assert.equal(usageOf([1, 1, 4096], [1, 1, 8192], [1, 2, 0])?.highWaterBytes, 8192);
  assert.equal(usageOf([1, 0, 8192])?.lastWrittenAtMs, undefined);
});

test('a node that has only a replica of a volume counts nothing, and takes back nothing that another counted', () => {
  const counted = usageOf([1, 5, 4096], [1, 5, 4096]);
  const status = { allocatedBytes: 8192 };
  assert.deepEqual(usageAfter(counted, { volumeId: ID, status, nowMs: 9 }), {
    ...counted,
    highWaterBytes: 8192,
  });
});
