import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Record, attached, claimed, withMembers } from './record.ts';
import { SetChanger } from './set-changer.ts';

const HEAD = { engine: 'e0', start: 1, attempt: 1 };
const CREATED: Record = {
  lineage: 1,
  epoch: 1,
  writer: 'created',
  head: undefined,
  attachment: { attachId: 'a1', boot: 'b' },
  members: new Map([
    ['r0', 1],
    ['r1', 1],
  ]),
  minimum: 1,
  sizeBytes: 4096,
};
const CLAIMED = claimed(CREATED, HEAD, 'claim');
const SHRUNK = withMembers(CLAIMED, ['r0'], { writer: 'shrink' });

function changer() {
  const sent: string[] = [];
  const seen: string[] = [];
  let nowMs = 0;
  const made = new SetChanger(CLAIMED, {
    now: () => nowMs,
    transact: (expected, next) => sent.push(`${expected.epoch} to ${next.epoch} by ${next.writer}`),
    onCommitted: (record) => seen.push(`committed ${record.epoch}`),
    onOvertaken: (record) => seen.push(`overtaken by ${record?.writer}`),
  });
  return { made, sent, seen, sleep: (ms: number) => (nowMs += ms) };
}

test('the same transaction is tried until its outcome is known', () => {
  const { made, sent, seen, sleep } = changer();
  made.submit(SHRUNK);
  made.onOutcome('shrink', { kind: 'unknown' });
  made.tick();
  assert.deepEqual(sent, ['2 to 3 by shrink']);
  sleep(100);
  made.tick();
  assert.deepEqual(sent, ['2 to 3 by shrink', '2 to 3 by shrink']);
  assert.equal(made.pending, SHRUNK);
  assert.equal(made.known, CLAIMED);
  assert.deepEqual(seen, []);
});

test('a conflict with its own record is a commit', () => {
  const { made, seen } = changer();
  made.submit(SHRUNK);
  made.onOutcome('shrink', { kind: 'unknown' });
  made.onOutcome('shrink', { kind: 'conflict', record: SHRUNK });
  assert.deepEqual(seen, ['committed 3']);
  assert.equal(made.known, SHRUNK);
});

test('a record of another writer ends it, also at the epoch that was wanted', () => {
  const other = attached(CLAIMED, { attachId: 'a2', boot: 'b' }, 'control');
  assert.equal(other.epoch, SHRUNK.epoch);
  const { made, seen } = changer();
  made.submit(SHRUNK);
  made.onOutcome('shrink', { kind: 'conflict', record: other });
  assert.deepEqual(seen, ['overtaken by control']);
  assert.equal(made.known, CLAIMED);
});

test('a record that is gone ends it: the volume was deleted', () => {
  const { made, seen } = changer();
  made.submit(SHRUNK);
  made.onOutcome('shrink', { kind: 'conflict', record: undefined });
  assert.deepEqual(seen, ['overtaken by undefined']);
});

test('outcomes of an earlier transaction say nothing of the present one', () => {
  const { made, seen } = changer();
  made.submit(SHRUNK);
  made.onOutcome('claim', { kind: 'committed' });
  assert.deepEqual(seen, []);
  assert.equal(made.pending, SHRUNK);
});

test('a record follows the one that is known, one at a time', () => {
  const { made } = changer();
  assert.throws(() => made.submit({ ...SHRUNK, epoch: 5 }), /follows/);
  made.submit(SHRUNK);
  assert.throws(() => made.submit(SHRUNK), /one transaction/);
});
