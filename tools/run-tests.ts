/**
 * Runs files of tests, prints what came of each, and sums up: the last line is "N passed, N failed, N skipped".
 * `node tools/run-tests.ts [FILE or FOLDER…]`; without any, all.
 */

import { globSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FileOutcome, runTestFile } from './test-file.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const ALLOWED_SKIPS = join(ROOT, 'test', 'allowed-skips.txt');

/** Folders with tests of single parts, some at once. */
export const UNIT_FOLDERS: readonly string[] = ['src', 'sim', 'tools', 'bench'];
/** Tests that start whole processes. */
export const PROCESS_FOLDERS: readonly string[] = ['test'];
/** They wait about as long as they compute; three at once took each 1.7 times as long, and etcd missed its deadlines. */
export const PROCESS_JOBS = 2;
/** First, or the end would be waiting for one of them. */
const LONGEST = ['test/tour.test.ts', 'test/control-kill.test.ts', 'sim/canaries/canaries.test.ts'];

/** A file that takes longer hangs: the slowest takes three minutes on 2 cores. */
const FILE_TIMEOUT_MS = 900_000;

export type Summary = {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
};

/** The test files in `places`, which are files or folders, relative to the repository's root. */
export function findTestFiles(places: readonly string[]): string[] {
  const files = places.flatMap((place) =>
    statSync(join(ROOT, place)).isDirectory()
      ? globSync(`${place}/**/*.test.ts`, { cwd: ROOT })
      : [place],
  );
  return files.map((file) => file.split(sep).join('/')).toSorted();
}

/** Runs `files`, `jobs` at once, and prints a line for each. */
export async function runTests(files: readonly string[], jobs: number): Promise<FileOutcome[]> {
  const outcomes: FileOutcome[] = [];
  const queue = [
    ...files.filter((file) => LONGEST.includes(file)),
    ...files.filter((file) => !LONGEST.includes(file)),
  ];
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const outcome = await runTestFile(join(ROOT, file), FILE_TIMEOUT_MS);
      outcomes.push({ ...outcome, file });
      printFile({ ...outcome, file });
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return outcomes;
}

function printFile(outcome: FileOutcome): void {
  const failed = outcome.tests.filter((test) => test.outcome === 'failed');
  const bad = failed.length > 0 || outcome.problem !== undefined;
  const seconds = outcome.seconds.toFixed(1).padStart(6);
  print(`${bad ? 'FAIL' : 'ok  '} ${seconds} s  ${outcome.file}`);
  if (!bad) return;
  print(outcome.output.trimEnd());
  for (const test of failed) print(`  failed: ${test.name}`);
  if (outcome.problem !== undefined) print(`  failed: ${outcome.file} ${outcome.problem}`);
}

/**
 * Lists the skipped tests and prints the closing line. With CI=true a skip that nobody allowed counts as a failure;
 * `otherFailureCount` are those of steps that are no tests.
 */
export function summarize(
  outcomes: readonly FileOutcome[],
  otherFailureCount: number,
  tell: (line: string) => void = print,
): Summary {
  const tests = outcomes.flatMap(({ file, tests: all }) => all.map((test) => ({ file, ...test })));
  const count = (wanted: string): number => tests.filter((t) => t.outcome === wanted).length;
  const broken = outcomes.filter((each) => each.problem !== undefined).length;
  let failed = count('failed') + broken + otherFailureCount;
  const allowed = readAllowedSkips(readFileSync(ALLOWED_SKIPS, 'utf8'));
  for (const test of tests.filter((each) => each.outcome === 'skipped')) {
    const key = `${test.file}: ${test.name}`;
    tell(`skipped: ${key} (${test.reason === '' ? 'no reason given' : test.reason})`);
    if (process.env['CI'] !== 'true' || allowed.has(key)) continue;
    tell('  failed: with CI=true a skip must be listed in test/allowed-skips.txt');
    failed += 1;
  }
  for (const { file, problem } of outcomes) {
    if (problem !== undefined) tell(`failed: ${file} ${problem}`);
  }
  for (const test of tests) {
    if (test.outcome === 'failed') tell(`failed: ${test.file}: ${test.name}`);
  }
  const summary = { passed: count('passed'), failed, skipped: count('skipped') };
  tell(`${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
  return summary;
}

/** Lines `FILE: TEST`; those that begin with # say why. */
export function readAllowedSkips(text: string): Set<string> {
  const lines = text.split('\n').map((line) => line.trim());
  return new Set(lines.filter((line) => line !== '' && !line.startsWith('#')));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const places = process.argv.slice(2).map((path) => relative(ROOT, path));
  const wanted = places.length > 0 ? places : [...UNIT_FOLDERS, ...PROCESS_FOLDERS];
  const files = findTestFiles(wanted);
  if (files.length === 0) throw new Error(`There is no test in ${wanted.join(', ')}`);
  const isProcessTest = (file: string): boolean =>
    PROCESS_FOLDERS.some((folder) => file.startsWith(`${folder}/`));
  const outcomes = [
    ...(await runTests(
      files.filter((file) => !isProcessTest(file)),
      availableParallelism(),
    )),
    ...(await runTests(files.filter(isProcessTest), PROCESS_JOBS)),
  ];
  process.exitCode = summarize(outcomes, 0).failed > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
