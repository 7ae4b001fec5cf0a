/**
 * Runs the simulator: `node sim/main.ts [--seed N] [--seeds N] [--seconds N] [--focus NAME] [--store drive|raw] [--processes N] [--trace]`.
 * The same seed on the same commit is the same run. Ends with status 1 at the first violation.
 */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { RAW_FLAWS, rawStore } from './raw-store.ts';
import { FOCUSES, type Focus } from './plan.ts';
import { runSeeds } from './run-seeds.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
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

const focus = FOCUSES.find((name): name is Focus => name === values.focus);
if (focus === undefined) throw new Error(`--focus is one of ${FOCUSES.join(', ')}`);
// The drive store is loaded only when it is asked for: the reference store tests the checkers without it.
const store =
  values.store === 'raw'
    ? rawStore(RAW_FLAWS.find((flaw) => flaw === values.flaw) ?? 'none')
    : (await import('./drive-store-under-test.ts')).driveStoreUnderTest;

const firstSeed = Number(values.seed ?? 1);
const seedCount =
  values.seeds === undefined ? (values.seconds === undefined ? 1 : Infinity) : Number(values.seeds);
const processCount = Number(values.processes);

/** Runs a share of the seeds in a process of its own; resolves with its exit status. */
function share(index: number): Promise<number> {
  const size = Math.ceil(seedCount / processCount);
  const own = [
    '--seed',
    String(firstSeed + index * size),
    '--seeds',
    String(size),
    '--focus',
    values.focus,
  ];
  const child = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), ...own, ...(values.keep ? ['--keep'] : [])],
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
    seconds: values.seconds === undefined ? Infinity : Number(values.seconds),
    trace: values.trace,
    keepGoing: values.keep,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  if (outcome.failures.length > 0) process.exitCode = 1;
}
