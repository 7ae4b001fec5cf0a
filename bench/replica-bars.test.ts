import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeReplicas, REPLICA_ROWS, runsOn, SIDES, type Side } from './replica-bars.ts';
import type { RowSamples } from './report.ts';

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
  judgeReplicas([rowSamples(id, iopsBySide)]).map(({ what, measured, kind }) => [
    what,
    measured,
    kind,
  ]);

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
    assert.equal(runsOn(row, 'fua'), row.id === id);
    assert.equal(runsOn(row, 'quorum'), row.id !== id);
  }
});
