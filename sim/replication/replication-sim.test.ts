/** Some hundred histories of a replicated volume, each with its own faults. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAULTS } from './faults.ts';
import { runSeed } from './replication-sim.ts';

const SEEDS = 200;

/** What must have happened in them, or they prove less than they seem to. */
const REACHED = [
  ...FAULTS.map(({ name }) => `fault: ${name}`),
  'join',
  'shrink',
  'lives registered',
  'unflushed lost',
  'head ended: overtaken',
  'head ended: detached',
  'head ended: session lost',
  'answer write error',
];

test('a replicated volume keeps its promises', async () => {
  const reached = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { counts } = await runSeed(seed);
    for (const what of counts.keys()) reached.add(what);
  }
  assert.deepEqual(
    REACHED.filter((what) => !reached.has(what)),
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
