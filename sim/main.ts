/**
 * Runs the simulator: `node sim/main.ts [--seed N] [--seeds N] [--seconds N] [--focus NAME] [--store drive|raw] [--trace]`.
 * The same seed on the same commit is the same run. Ends with status 1 at the first violation.
 */

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
  },
});

const focus = FOCUSES.find((name): name is Focus => name === values.focus);
if (focus === undefined) throw new Error(`--focus is one of ${FOCUSES.join(', ')}`);
// The drive store is loaded only when it is asked for: the reference store tests the checkers without it.
const store =
  values.store === 'raw'
    ? rawStore(RAW_FLAWS.find((flaw) => flaw === values.flaw) ?? 'none')
    : (await import('./drive-store-under-test.ts')).driveStoreUnderTest;

const outcome = await runSeeds(store, {
  focus,
  firstSeed: values.seed === undefined ? 1 : Number(values.seed),
  seedCount:
    values.seeds === undefined
      ? values.seconds === undefined
        ? 1
        : Infinity
      : Number(values.seeds),
  seconds: values.seconds === undefined ? Infinity : Number(values.seconds),
  trace: values.trace,
  keepGoing: values.keep,
  print: (line) => process.stdout.write(`${line}\n`),
});
if (outcome.failures.length > 0) process.exitCode = 1;
