import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration } from './durations.ts';
import { Refusal } from './errors.ts';

test('a duration is a number with a unit', () => {
  assert.equal(parseDuration('45s'), 45_000);
  assert.equal(parseDuration('30m'), 1_800_000);
  assert.equal(parseDuration('12H'), 43_200_000);
  assert.equal(parseDuration(' 30d '), 2_592_000_000);
  assert.equal(parseDuration('2w'), 1_209_600_000);
});

test('anything else is refused', () => {
  for (const text of ['', '30', 'd', '-1d', '1.5d', '1y', '1 d', '1234567d', 'constructor']) {
    assert.throws(
      () => parseDuration(text),
      (error) => error instanceof Refusal && error.code === 'DURATION_INVALID',
      text,
    );
  }
});

test('people read the largest unit of which there are two', () => {
  const read = [0, 59_999, 130_000, 7_100_000, 7_200_000, 172_800_000, -5].map(formatDuration);
  assert.deepEqual(read, ['0 s', '59 s', '2 min', '118 min', '2 h', '2 d', '0 s']);
});
