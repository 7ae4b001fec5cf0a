/** Some dozen seeds; `node sim/placement/main.ts --seeds 10000` runs more. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runBalance } from './balance-sim.ts';
import { runSeed } from './placement-sim.ts';
import { runRepairs } from './repairs-sim.ts';

function run(
  seeds: number,
  runOne: (seed: number, counts: Map<string, number>) => void,
): Set<string> {
  const counts = new Map<string, number>();
  for (let seed = 1; seed <= seeds; seed++) runOne(seed, counts);
  return new Set(counts.keys());
}

test('placements are what their definition says, and refusals have no way around them', () => {
  const reached = run(120, runSeed);
  for (const constraint of ['spread', 'liveness', 'service', 'tags', 'promised', 'space']) {
    assert.ok(reached.has(`refused: ${constraint}`), constraint);
  }
});

test('repairs cost no copy, keep to their rules, and come to rest', () => {
  const reached = run(20, runRepairs);
  for (const kind of ['replace', 'add', 'readmit', 'retire', 'remove', 'held: nodes away']) {
    assert.ok(reached.has(kind), kind);
  }
});

test('suggested moves keep the constraints, and end', () => {
  const reached = run(40, runBalance);
  for (const gain of ['spread', 'group', 'local', 'fill']) {
    assert.ok(reached.has(`move: ${gain}`), gain);
  }
});
