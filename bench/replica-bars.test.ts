import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeReplicas, REPLICA_ROWS, rowOn, SIDES, type Side } from './replica-bars.ts';
import { allMet, type RowSamples, type Verdict } from './report.ts';

function rowSamples(id: string, iopsBySide: Partial<Record<Side, number>>): RowSamples {
  const row = REPLICA_ROWS.find((each) => each.id === id);
  assert.ok(row);
  const rest = { bytesPerSecond: 0, latencyP50Us: 0, latencyP99Us: 0, foreignShare: 0 };
  const sides = (Object.keys(iopsBySide) as Side[]).map((side) => ({
    side: SIDES[side],
    samples: [{ iops: iopsBySide[side] ?? 0, cpuUsPerIo: 50, ...rest }],
  }));
  return { row, sides };
}

const verdicts = (id: string, iopsBySide: Partial<Record<Side, number>>): unknown[] =>
  judgeReplicas([rowSamples(id, iopsBySide)]).map(inShort);

const inShort = (verdict: Verdict): unknown[] => [
  verdict.what,
  verdict.kind === 'not judged' ? verdict.reason : verdict.measured,
  verdict.kind,
];

test('frames in clear are judged by the peer, sealed ones by those, CPU by itself', () => {
  assert.deepEqual(verdicts('randwrite-4k-32', { clear: 250, sealed: 150, quorum: 100 }), [
    ['three engines, in clear x quorum', 2.5, 'met'],
    ['three engines, sealed x three engines, in clear', 0.6, 'MISSED'],
    ['three engines, in clear: µs CPU of all engines per I/O', 50, 'met'],
  ]);
  assert.deepEqual(verdicts('randread-4k-1', { clear: 95, one: 100 }), [
    ['three engines, in clear x Holdfast', 0.95, 'met'],
  ]);
});

test('writes with FUA have sides of their own', () => {
  const id = 'randwrite-4k-32-fua';
  assert.deepEqual(verdicts(id, { fua: 500, quorumFua: 100 }), [
    ['three engines, FUA x quorum, FUA', 5, 'reached the aim'],
  ]);
  for (const row of REPLICA_ROWS) {
    assert.equal(rowOn(row, 'fua') !== undefined, row.id === id);
    assert.equal(rowOn(row, 'quorum') !== undefined, row.id !== id);
  }
});

test("Ceph's plain writes, durable on all copies, stand against plain, flushed and FUA writes", () => {
  const ceph = SIDES.ceph;
  assert.deepEqual(verdicts('randwrite-4k-32', { clear: 150, ceph: 10 })[0], [
    `three engines, in clear x ${ceph}`,
    15,
    'met',
  ]);
  const fsync = 'randwrite-4k-1-fsync';
  assert.deepEqual(verdicts(fsync, { clear: 60, ceph: 10 }), [
    [`three engines, in clear x ${ceph}`, 6, 'reached the aim'],
  ]);
  assert.deepEqual(verdicts('randwrite-4k-32-fua', { fua: 79, ceph: 10 }), [
    [`three engines, FUA x ${ceph}`, 7.9, 'MISSED'],
  ]);
  for (const row of REPLICA_ROWS) assert.equal(rowOn(row, 'ceph')?.flushEach, false);
  const [flushed] = REPLICA_ROWS.filter((row) => row.id === fsync);
  assert.equal(rowOn(flushed!, 'clear')?.flushEach, true);
});

test('a row whose peer cannot run says why it was not judged, and does not pass', () => {
  const rows = [rowSamples('randwrite-4k-1-fsync', { clear: 20, quorum: 10 })];
  const judged = judgeReplicas(rows, { ceph: 'not installed' });
  assert.deepEqual(judged.map(inShort), [
    ['three engines, in clear x quorum', 2, 'reached the aim'],
    [`three engines, in clear x ${SIDES.ceph}`, 'not installed', 'not judged'],
  ]);
  const asked = rows.map(({ row }) => row);
  assert.equal(allMet(asked, judged), false);
  assert.equal(allMet(asked, judgeReplicas(rows)), true);
});
