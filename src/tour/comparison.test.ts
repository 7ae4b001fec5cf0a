import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, formatComparison } from './comparison.ts';

test('compare names what was promised and is not there', () => {
  const journal = [1, 2, 3].map((sequence) => ({ writer: 1, sequence }));
  const comparison = compare(journal, ({ sequence }) => sequence !== 2);
  assert.deepEqual(comparison.lost, [{ writer: 1, sequence: 2 }]);
  assert.equal(formatComparison(comparison), 'committed 3, found 2, lost 1');
});
