/** Some hundred histories of a replicated volume, each with its own faults. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENTS } from './coverage.ts';
import { runSeeds } from './run-seeds.ts';
import { History } from './history.ts';

const SEEDS = 200;

test('a replicated volume keeps its promises', async () => {
  const { failures, counts } = await runSeeds({ first: 1, count: SEEDS });
  assert.deepEqual(failures, []);
  const reached = new Set(counts.map(([what]) => what));
  assert.deepEqual(
    EVENTS.filter((what) => !reached.has(what)),
    [],
  );
});

test('the same seed is the same history', async () => {
  const history = async (): Promise<string[]> => {
    const lines: string[] = [];
    await History.ofSeed(4, { requestCount: 300, onTrace: (line) => lines.push(line) }).run();
    return lines;
  };
  assert.deepEqual(await history(), await history());
});
