/** Some hundred histories of a replicated volume, each with its own faults. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENTS } from './coverage.ts';
import { runSeed } from './replication-sim.ts';

const SEEDS = 200;

test('a replicated volume keeps its promises', async () => {
  const reached = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { counts } = await runSeed(seed);
    for (const what of counts.keys()) reached.add(what);
  }
  assert.deepEqual(
    EVENTS.filter((what) => !reached.has(what)),
    [],
  );
});

test('the same seed is the same history', async () => {
  const history = async (): Promise<string[]> => {
    const lines: string[] = [];
    await runSeed(4, { requestCount: 300, onTrace: (line) => lines.push(line) });
    return lines;
  };
  assert.deepEqual(await history(), await history());
});
