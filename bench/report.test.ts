import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample } from './measure.ts';
import { allMet, judge, type RowSamples } from './report.ts';
import { ROWS } from './rows.ts';

const ROLES = { ours: 'Holdfast', base: 'raw file', peer: 'qemu-nbd' };

function sample(iops: number, cpuUsPerIo = 5): Sample {
  return { iops, cpuUsPerIo, bytesPerSecond: 0, latencyP50Us: 0, latencyP99Us: 0, foreignShare: 0 };
}

function rowSamples(id: string, iopsBySide: Record<string, number[]>, cpuUs = 5): RowSamples {
  const row = ROWS.find((each) => each.id === id);
  assert.ok(row);
  const sides = Object.entries(iopsBySide).map(([side, values]) => ({
    side,
    samples: values.map((iops) => sample(iops, cpuUs)),
  }));
  return { row, sides };
}

test('judge compares round with round and takes the median of the ratios', () => {
  // The medians of the sides alone would give 60 / 100; the second round was slow for both.
  const rows = [
    rowSamples('randread-4k-32', {
      Holdfast: [90, 20, 60],
      'raw file': [100, 25, 120],
      'qemu-nbd': [30, 10, 50],
    }),
  ];
  const verdicts = judge(rows, ROLES);
  assert.deepEqual(
    verdicts.map((each) => [each.what, each.measured, each.kind]),
    [
      ['x raw file', 0.8, 'met'],
      ['x qemu-nbd', 2, 'met'],
      ['µs CPU per I/O', 5, 'met'],
    ],
  );
});

test('judge reports a missed bar and a side without rounds as missed', () => {
  const slow = rowSamples('randread-4k-1', { Holdfast: [40], 'raw file': [100], 'qemu-nbd': [] });
  assert.deepEqual(
    judge([slow], ROLES).map((each) => each.kind),
    ['MISSED', 'MISSED'],
  );
});

test('judge misses the CPU bar above it', () => {
  const rows = [rowSamples('randwrite-4k-32', { Holdfast: [1] }, 15.1)];
  assert.deepEqual(
    judge(rows, ROLES).map((each) => [each.what, each.kind]),
    [['µs CPU per I/O', 'MISSED']],
  );
});

test('judge misses a row in which the server died', () => {
  const rows = [rowSamples('randread-4k-1', { Holdfast: [1], 'raw file': [1] }, Number.NaN)];
  assert.deepEqual(
    judge(rows, ROLES).map((each) => [each.what, each.kind]),
    [
      ['x raw file', 'reached the aim'],
      ['server lived through it', 'MISSED'],
    ],
  );
});

test('allMet asks for a verdict on each row', () => {
  const alone = [rowSamples('randread-4k-1', { Holdfast: [1] })];
  const rows = alone.map((each) => each.row);
  assert.deepEqual(judge(alone, ROLES), []);
  assert.equal(allMet(rows, []), false);
  assert.equal(allMet([], []), false);
  const both = [rowSamples('randread-4k-1', { Holdfast: [1], 'raw file': [1] })];
  assert.equal(allMet(rows, judge(both, ROLES)), true);
});

test('judge compares first writes with overwrites of our own', () => {
  const rows = [
    rowSamples('randwrite-4k-32', { Holdfast: [100] }),
    rowSamples('first-randwrite-4k-32', { Holdfast: [49] }),
  ];
  const verdict = judge(rows, ROLES).find((each) => each.rowId.startsWith('first'));
  assert.deepEqual(
    [verdict?.what, verdict?.measured, verdict?.kind],
    ['x overwrites', 0.49, 'MISSED'],
  );
});
