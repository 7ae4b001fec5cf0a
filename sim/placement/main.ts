/**
 * `npm run sim:placement -- [--seeds N] [--seed N]`: placements on clusters drawn from seeds, each compared with its definition and with every
 * other choice; repairs under faults; moves for balance. Ends with the first seed that fails.
 */

import { parseArgs } from 'node:util';
import { countOption } from '../../src/lib/count-option.ts';
import { readOptions } from '../options.ts';
import { runBalance } from './balance-sim.ts';
import { runSeed } from './placement-sim.ts';
import { runRepairs } from './repairs-sim.ts';

const { first, count } = readOptions(() => {
  const { values } = parseArgs({
    options: { seeds: { type: 'string', default: '1000' }, seed: { type: 'string' } },
  });
  return values.seed === undefined
    ? { first: 1, count: countOption('seeds', values.seeds) }
    : { first: countOption('seed', values.seed), count: 1 };
});

function main(): number {
  const counts = new Map<string, number>();
  for (let seed = first; seed < first + count; seed++) {
    try {
      runSeed(seed, counts);
      runRepairs(seed, counts);
      runBalance(seed, counts);
    } catch (error) {
      const text = error instanceof Error ? error.stack : String(error);
      process.stdout.write(`SEED ${seed} FAILED\n  ${text}\n`);
      return 1;
    }
  }
  for (const [what, times] of [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    process.stdout.write(`${String(times).padStart(9)}  ${what}\n`);
  }
  process.stdout.write(`${count} seeds, none failed\n`);
  return 0;
}

process.exitCode = main();
