/**
 * Runs the simulator: `node sim/main.ts [--seed N] [--seeds N] [--seconds N] [--focus NAME] [--store drive|raw] [--processes N] [--trace]`.
 * The same seed on the same commit is the same run. Ends with status 1 at the first violation.
 */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, positiveOption, UsageError } from '../src/lib/count-option.ts';
import { readOptions } from './options.ts';
import { RAW_FLAWS, rawStore } from './raw-store.ts';
import { FOCUSES } from './focus.ts';
import { runSeeds } from './run-seeds.ts';

const options = readOptions(() => {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string' },
      seconds: { type: 'string' },
      focus: { type: 'string', default: 'any' },
      store: { type: 'string', default: 'drive' },
      flaw: { type: 'string', default: 'none' },
      trace: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      processes: { type: 'string', default: '1' },
    },
  });
  const { seeds, seconds } = values;
  const processCount = countOption('processes', values.processes);
  if (processCount > 1 && seeds === undefined) throw new UsageError('--processes share --seeds');
  return {
    focus: oneOf('focus', values.focus, ['every', ...FOCUSES] as const),
    store: oneOf('store', values.store, ['drive', 'raw'] as const),
    flaw: oneOf('flaw', values.flaw, ['none', ...RAW_FLAWS] as const),
    trace: values.trace,
    keep: values.keep,
    firstSeed: countOption('seed', values.seed, 0),
    seedCount:
      seeds !== undefined ? countOption('seeds', seeds) : seconds === undefined ? 1 : Infinity,
    seconds: seconds === undefined ? Infinity : positiveOption('seconds', seconds),
    processCount,
  };
});

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === text);
  if (found === undefined) throw new UsageError(`--${name} is one of ${known.join(', ')}`);
  return found;
}

// The drive store is loaded only when it is asked for: the reference store tests the checkers without it.
const store =
  options.store === 'raw'
    ? rawStore(options.flaw)
    : (await import('./drive-store-under-test.ts')).driveStoreUnderTest;

const { focus, firstSeed, seedCount, processCount } = options;

/** Runs a share of the seeds in a process of its own; resolves with its exit status. */
function share(index: number): Promise<number> {
  const size = Math.ceil(seedCount / processCount);
  const own = [
    '--seed',
    String(firstSeed + index * size),
    '--seeds',
    String(size),
    '--focus',
    focus,
    '--store',
    options.store,
    '--flaw',
    options.flaw,
    ...(options.trace ? ['--trace'] : []),
  ];
  const child = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), ...own, ...(options.keep ? ['--keep'] : [])],
    {
      stdio: 'inherit',
    },
  );
  return new Promise((resolve) => {
    child.on('close', (status) => resolve(status ?? 1));
  });
}

if (processCount > 1) {
  const statuses = await Promise.all(
    Array.from({ length: processCount }, (_, index) => share(index)),
  );
  if (statuses.some((status) => status !== 0)) process.exitCode = 1;
} else {
  const outcome = await runSeeds(store, {
    focus,
    firstSeed,
    seedCount,
    seconds: options.seconds,
    trace: options.trace,
    keepGoing: options.keep,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  // Nothing looked at is nothing found.
  if (outcome.failures.length > 0 || outcome.seeds === 0) process.exitCode = 1;
}
