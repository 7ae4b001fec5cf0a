/** `npm run sim:replication`: the replication of one volume under faults, on virtual time. */

import { parseArgs } from 'node:util';
import { countOption } from '../../src/lib/count-option.ts';
import { readOptions } from '../options.ts';
import { type ChunkResult, runLong } from './long-run.ts';
import { runSeed } from './replication-sim.ts';

const HELP = `Runs the replication of a volume on simulated machines, one seed after the other.

  npm run sim:replication -- [--seeds N] [--first N] [--keep-going]   N seeds, 100 unless told; ends with the first that fails
  npm run sim:replication -- --seed N [--trace]                       one, again: the same seed is the same run
  npm run sim:replication -- --seeds N --processes N --result FILE    the long run: goes on where FILE ends, and fails
                                                                      where something was never reached
`;

const options = readOptions(() => {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      first: { type: 'string', default: '1' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      processes: { type: 'string', default: '2' },
      result: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    ...values,
    first: countOption('first', values.seed ?? values.first),
    count: values.seed === undefined ? countOption('seeds', values.seeds) : 1,
    processes: countOption('processes', values.processes),
  };
});

async function runHere(): Promise<ChunkResult> {
  const { first, count, trace } = options;
  const onTrace = trace ? (line: string): unknown => process.stdout.write(`${line}\n`) : undefined;
  const counts = new Map<string, number>();
  const failures: string[] = [];
  const millis: number[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const startedAt = performance.now();
    try {
      const report = await runSeed(seed, onTrace === undefined ? {} : { onTrace });
      for (const [what, times] of report.counts) counts.set(what, (counts.get(what) ?? 0) + times);
    } catch (error) {
      failures.push(
        `SEED ${seed} FAILED\n  ${error instanceof Error ? error.stack : String(error)}`,
      );
      if (!options['keep-going']) break;
    }
    millis.push(performance.now() - startedAt);
  }
  const medianMs = millis.toSorted((a, b) => a - b)[Math.floor(millis.length / 2)] ?? 0;
  return { first, count, failures, medianMs, counts: [...counts] };
}

function print({ count, failures, medianMs, counts }: ChunkResult): void {
  for (const failure of failures) process.stdout.write(`${failure}\n`);
  for (const [what, times] of counts.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    process.stdout.write(`${String(times).padStart(9)}  ${what}\n`);
  }
  process.stdout.write(
    `${count} seeds, ${failures.length} failed, median ${medianMs.toFixed(1)} ms\n`,
  );
}

async function main(): Promise<number> {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const { first, count, processes, result: file } = options;
  if (file !== undefined) return runLong({ first, count, processes, file });
  const result = await runHere();
  if (options.json) process.stdout.write(JSON.stringify(result));
  else print(result);
  return result.failures.length === 0 ? 0 : 1;
}

process.exitCode = await main();
