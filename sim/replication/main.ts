/** `npm run sim:replication`: the replication of one volume under faults, on virtual time. */

import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { countOption } from '../../src/lib/count-option.ts';
import { readOptions } from '../options.ts';
import { reportOf } from './coverage.ts';
import { runLong } from './long-run.ts';
import { replayScenario, runSeeds, saveSmallest } from './run-seeds.ts';

const HELP = `Runs the replication of a volume on simulated machines, one seed after the other.

  npm run sim:replication -- [--seeds N] [--first N] [--keep-going]   N seeds, 100 unless told; ends with the first that fails
  npm run sim:replication -- --seed N [--trace]                       one, again: the same seed is the same run
  npm run sim:replication -- --seed N --shrink FILE                   what is left of one that fails when all is left out that it fails without
  npm run sim:replication -- --scenario FILE [--trace]                that, again
  npm run sim:replication -- --seeds N --processes N --result FILE    the long run: goes on where FILE ends, and fails where something was
                                                                      not reached often enough
`;

const options = readOptions(() => {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      first: { type: 'string', default: '1' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      shrink: { type: 'string' },
      scenario: { type: 'string' },
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

const print = (text: string): unknown => process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  const { first, count, processes, result: file, trace, json, shrink, scenario } = options;
  const onTrace = trace ? print : undefined;
  if (options.help) {
    print(HELP);
    return 0;
  }
  if (file !== undefined) return runLong({ first, count, processes, file });
  if (scenario !== undefined) {
    const failure = await replayScenario(fs.readFileSync(scenario, 'utf8'), onTrace);
    print(failure?.message ?? 'All promises were kept');
    return failure === undefined ? 0 : 1;
  }
  const result = await runSeeds({ first, count, keepGoing: options['keep-going'], onTrace });
  if (json) print(JSON.stringify(result));
  else {
    for (const line of reportOf([result])) print(line);
  }
  const [failed] = result.failures;
  if (failed === undefined) return 0;
  if (shrink !== undefined) print(await saveSmallest(failed, shrink));
  return 1;
}

process.exitCode = await main();
