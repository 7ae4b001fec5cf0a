import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestGapMs } from './gaps.ts';

test('longestGapMs looks at all streams together', () => {
  assert.equal(
    longestGapMs(['5, 100, 0, 4096, 0\n65, 90, 1, 4096, 0\n', '30, 1, 0, 4096, 0\n']),
    35,
  );
});

test('longestGapMs finds none in one completion', () => {
  assert.equal(longestGapMs(['500, 1, 0, 4096, 0\n']), 0);
  assert.equal(longestGapMs([]), 0);
});
