import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { compare, formatComparison } from './comparison.ts';
import { compareRows } from './database-load.ts';

test('compare names what was promised and is not there', () => {
  const journal = [1, 2, 3].map((sequence) => ({ writer: 1, sequence }));
  const comparison = compare(journal, ({ sequence }) => sequence !== 2);
  assert.deepEqual(comparison.lost, [{ writer: 1, sequence: 2 }]);
  assert.equal(formatComparison(comparison), 'committed 3, found 2, lost 1');
});

test('a commit is lost where its row is gone, or has another payload', () => {
  const journal = [1, 2, 3].map((sequence) => ({ writer: 4, sequence }));
  const rows = ['4|1|DIGEST', '4|2|0123456789abcdef0123456789abcdef'];
  const digest = createHash('md5')
    .update(createHash('sha256').update('4 1').digest('hex').repeat(8))
    .digest('hex');
  const text = rows.join('\n').replace('DIGEST', digest);
  assert.deepEqual(compareRows(text, journal).lost, journal.slice(1));
});
