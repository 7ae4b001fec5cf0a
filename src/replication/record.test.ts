import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Record,
  defaultMinimum,
  detached,
  fewest,
  isNewer,
  isSame,
  lossAccepted,
  withMembers,
} from './record.ts';

const RECORD: Record = {
  lineage: 1,
  epoch: 7,
  writer: 'w',
  head: { engine: 'e0', start: 1, attempt: 1 },
  attachment: { attachId: 'a1', boot: 'b' },
  members: new Map([
    ['r0', 1],
    ['r1', 2],
    ['r2', 1],
  ]),
  minimum: 2,
  sizeBytes: 4096,
};

test('half of the replicas, rounded up, stay in sync', () => {
  assert.deepEqual([1, 2, 3, 4, 5].map(defaultMinimum), [1, 1, 2, 2, 3]);
});

test('members keep the life they were registered with; one that joins brings its own', () => {
  const next = withMembers(RECORD, ['r1', 'r3'], { writer: 'x', lives: new Map([['r3', 4]]) });
  assert.deepEqual(
    [...next.members],
    [
      ['r1', 2],
      ['r3', 4],
    ],
  );
  assert.equal(next.epoch, 8);
  assert.equal(next.head, RECORD.head);
});

test('no record leaves S with too few, or with a member of unknown life', () => {
  assert.throws(() => withMembers(RECORD, ['r0'], { writer: 'x' }), /minimum/);
  assert.throws(() => withMembers(RECORD, ['r0', 'r9'], { writer: 'x' }), /life/);
});

test('a detach leaves neither head nor attachment', () => {
  const { head, attachment, epoch } = detached(RECORD, 'x');
  assert.deepEqual(
    { head, attachment, epoch },
    { head: undefined, attachment: undefined, epoch: 8 },
  );
});

test('a lineage comes before an epoch, and a writer tells records of one epoch apart', () => {
  const later = { ...RECORD, lineage: 2, epoch: 1 };
  assert.ok(isNewer(later, RECORD));
  assert.ok(!isNewer(RECORD, later));
  assert.ok(!isNewer(RECORD, RECORD));
  assert.ok(!isSame(RECORD, { ...RECORD, writer: 'other' }));
});

test('a loss that is accepted leaves one member in a higher lineage, and S grows up to its minimum again', () => {
  const next = lossAccepted(RECORD, { replica: 'r9', life: 4, lineage: 12, writer: 'operator' });
  assert.deepEqual([...next.members], [['r9', 4]]);
  assert.deepEqual([next.lineage, next.head, next.attachment], [12, undefined, undefined]);
  assert.ok(isNewer(next, { ...RECORD, epoch: 99 }));
  assert.equal(fewest(next), 1);
  const lives = new Map([['r0', 1]]);
  const joined = withMembers(next, ['r9', 'r0'], { writer: 'join', lives });
  assert.equal(fewest(joined), 2);
  assert.throws(() => withMembers(joined, ['r9'], { writer: 'shrink' }), /keeps its minimum/);
  const same = { replica: 'r9', life: 4, lineage: RECORD.lineage, writer: 'operator' };
  assert.throws(() => lossAccepted(RECORD, same), /lineage/);
});
