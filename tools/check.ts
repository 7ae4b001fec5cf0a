/**
 * `npm run check`, the gate before every commit: types, lint, format, the tests of parts, a minute of simulation.
 * With `--all` (`npm test`) the tests of whole processes too. Prints what each step took; goes on after a failure, so that one run shows all.
 */

import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  PROCESS_FOLDERS,
  PROCESS_JOBS,
  UNIT_FOLDERS,
  findTestFiles,
  runTests,
  summarize,
} from './run-tests.ts';
import type { FileOutcome } from './test-file.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
/** Of each focus in turn: a minute, on two processors at once. */
const SIMULATION_SEEDS = 400;
/**
 * What `npm test` may take on 2 quiet cores, everything being installed: 6 min for the drive and its clients, 5 more for the control plane,
 * 6 for replication. CI fails past it; a machine with other work is told.
 */
const BUDGET_SECONDS = 1020;

const { values } = parseArgs({ options: { all: { type: 'boolean', default: false } } });

const startedAt = performance.now();
const failures: string[] = [];
const outcomes: FileOutcome[] = [];

async function step(title: string, run: () => Promise<boolean>): Promise<void> {
  const stepStartedAt = performance.now();
  print(`# ${title}`);
  if (!(await run())) failures.push(title);
  print(`  ${((performance.now() - stepStartedAt) / 1000).toFixed(1)} s\n`);
}

/** Runs a program that shares this one's terminal; whether it ended with 0. */
async function runProgram(program: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit' });
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code === 0));
  });
}

async function tool(name: string, ...args: readonly string[]): Promise<boolean> {
  return await runProgram(`${ROOT}node_modules/.bin/${name}`, args);
}

async function tests(folders: readonly string[], jobs: number): Promise<boolean> {
  outcomes.push(...(await runTests(findTestFiles(folders), jobs)));
  // Their failures are counted by name at the end.
  return true;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await step('types', async () => await tool('tsc'));
await step('lint', async () => await tool('oxlint', '--deny-warnings'));
await step('format', async () => await tool('oxfmt', '--check'));
await step('tests of parts', async () => await tests(UNIT_FOLDERS, availableParallelism()));
await step(
  'simulation',
  async () =>
    await runProgram(process.execPath, [
      'sim/main.ts',
      '--seeds',
      String(SIMULATION_SEEDS),
      '--focus',
      'every',
      '--processes',
      '2',
    ]),
);
if (values.all) {
  await step('tests of processes', async () => await tests(PROCESS_FOLDERS, PROCESS_JOBS));
}

const seconds = Math.round((performance.now() - startedAt) / 1000);
const verdict = seconds > BUDGET_SECONDS ? 'MORE THAN' : 'of';
print(`${seconds} s, ${verdict} the ${BUDGET_SECONDS} s that npm test may take on 2 quiet cores`);
if (process.env['CI'] === 'true' && seconds > BUDGET_SECONDS) {
  failures.push(`it took more than ${BUDGET_SECONDS} s`);
}
for (const failure of failures) print(`failed: ${failure}`);
const summary = summarize(outcomes, failures.length);
process.exitCode = summary.failed > 0 ? 1 : 0;
