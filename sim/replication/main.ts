/** `npm run sim:replication`: the replication of one volume under faults, on virtual time. */

import { parseArgs } from 'node:util';
import { countOption } from '../../src/lib/count-option.ts';
import { runSeed } from './replication-sim.ts';

const HELP = `Runs the replication of a volume on simulated machines, one seed after the other.

  npm run sim:replication -- [--seeds N] [--first N]     N seeds, 100 unless told; ends with the first that fails, or with --keep-going not
  npm run sim:replication -- --seed N [--trace]          one, again: the same seed is the same run
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      first: { type: 'string', default: '1' },
      seed: { type: 'string' },
      'keep-going': { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const first = countOption('first', values.seed ?? values.first);
  const count = values.seed === undefined ? countOption('seeds', values.seeds) : 1;
  const onTrace = values.trace
    ? (line: string): unknown => process.stdout.write(`${line}\n`)
    : undefined;
  const totals = new Map<string, number>();
  const startedAt = performance.now();
  let failures = 0;
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { counts } = await runSeed(seed, onTrace === undefined ? {} : { onTrace });
      for (const [what, times] of counts) totals.set(what, (totals.get(what) ?? 0) + times);
    } catch (error) {
      failures++;
      process.stdout.write(
        `SEED ${seed} FAILED\n  ${error instanceof Error ? error.stack : String(error)}\n`,
      );
      if (!values['keep-going']) break;
    }
  }
  for (const [what, times] of [...totals].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    process.stdout.write(`${String(times).padStart(9)}  ${what}\n`);
  const ms = performance.now() - startedAt;
  process.stdout.write(
    `${count} seeds, ${failures} failed, ${(ms / count).toFixed(1)} ms a seed\n`,
  );
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main();
