import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommitClock } from './commit-clock.ts';

test('CommitClock finds the longest gap since it was last asked, and the rate', () => {
  let nowMs = 0;
  const clock = new CommitClock(() => nowMs);
  for (const atMs of [10, 20, 320, 330]) {
    nowMs = atMs;
    clock.note();
  }
  assert.equal(clock.takeLongestGapMs(), 300);
  nowMs = 400;
  clock.note();
  assert.equal(clock.takeLongestGapMs(), 70);
  assert.equal(clock.count, 5);
  assert.equal(clock.perSecond(), 12.5);
});
