/** holdfast sim: the replication of this program under faults, on simulated machines. */

import fs from 'node:fs';

import type { Command } from 'commander';

import { countOption, isUsageError } from '../../lib/count-option.ts';
import { Refusal } from '../../model/errors.ts';
import { addCommand, contextOf } from '../context.ts';
import type { Output } from '../output.ts';

const EXIT_FAILED = 1;

type Options = {
  readonly seeds: string;
  readonly seed?: string;
  readonly scenario?: string;
};

export function addSimCommand(program: Command): void {
  addCommand(program, 'sim', {
    purpose:
      'Runs the replication of this program on simulated machines under faults, 2,000 requests a seed. A seed that breaks a promise is made as small as it gets and kept as a scenario.',
    example: 'holdfast sim --seeds 20',
    isLocal: true,
  })
    .option('--seeds <count>', 'how many, from 1 on', '100')
    .option('--seed <number>', 'only this one, with all that happens in it')
    .option('--scenario <file>', 'what an earlier run kept, with all that happens in it')
    .action((options: Options, command: Command) => simulate(options, command));
}

async function simulate(options: Options, command: Command): Promise<void> {
  const { output } = contextOf(command);
  const onTrace = (line: string): void => {
    if (output.kind === 'text') process.stdout.write(`${line}\n`);
  };
  try {
    const isKept = await (options.scenario === undefined
      ? runSeeds(options, { output, onTrace })
      : replay(options.scenario, { output, onTrace }));
    if (!isKept) process.exitCode = EXIT_FAILED;
  } catch (error) {
    if (!isUsageError(error)) throw error;
    throw new Refusal('INPUT_INVALID', { problem: error.message });
  }
}

type Told = { readonly output: Output; readonly onTrace: (line: string) => void };

async function runSeeds(options: Options, { output, onTrace }: Told): Promise<boolean> {
  const sim = await import('../../../sim/replication/run-seeds.ts');
  const { reportOf } = await import('../../../sim/replication/coverage.ts');
  const result = await sim.runSeeds(
    options.seed === undefined
      ? { first: 1, count: countOption('seeds', options.seeds) }
      : { first: countOption('seed', options.seed), count: 1, onTrace },
  );
  output.result(result, reportOf([result]).join('\n'));
  const [failed] = result.failures;
  if (failed === undefined) return true;
  const file = `holdfast-seed-${failed.seed}.json`;
  output.note(await sim.saveSmallest(failed, file));
  output.note(`Again: holdfast sim --scenario ${file}`);
  return false;
}

async function replay(file: string, { output, onTrace }: Told): Promise<boolean> {
  const { replayScenario } = await import('../../../sim/replication/run-seeds.ts');
  const failure = await replayScenario(fs.readFileSync(file, 'utf8'), onTrace);
  output.result(failure ?? {}, failure?.message ?? 'All promises were kept');
  return failure === undefined;
}
