/** Runs one file of tests in a process of its own, with a limit on its time, and says what came of each test. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type TestOutcome = {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped; may be empty. */
  readonly reason: string;
};

export type FileOutcome = {
  readonly file: string;
  readonly seconds: number;
  readonly tests: readonly TestOutcome[];
  /** What is wrong with the file as a whole: it hung, broke, or holds no test. */
  readonly problem?: string;
  /** What it printed, with the runner's own report. */
  readonly output: string;
};

const REPORTER = fileURLToPath(new URL('./test-reporter.mjs', import.meta.url));
/** Where `bin/holdfast` has it too: the processes that a test starts compile nothing twice. */
const COMPILE_CACHE = fileURLToPath(new URL('../node_modules/.cache/holdfast', import.meta.url));
/** Of a file that prints without end, this much from its end is kept. */
const OUTPUT_CHARS_MAX = 200_000;

/** `timeoutMs` is the guard against a hang: then the file and all that it started are killed. */
export async function runTestFile(file: string, timeoutMs: number): Promise<FileOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  const reportPath = join(folder, 'report');
  try {
    const startedAt = performance.now();
    const ended = await runProcess({ file, reportPath, timeoutMs });
    const seconds = (performance.now() - startedAt) / 1000;
    const tests = readReport(reportPath);
    const problem = problemOf(ended.end, tests, timeoutMs);
    const outcome = { file, seconds, tests, output: ended.output };
    return problem === undefined ? outcome : { ...outcome, problem };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type End = { readonly kind: 'exit'; readonly status: number | string } | { readonly kind: 'hang' };

async function runProcess(options: {
  readonly file: string;
  readonly reportPath: string;
  readonly timeoutMs: number;
}): Promise<{ readonly end: End; readonly output: string }> {
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${REPORTER}`,
    `--test-reporter-destination=${options.reportPath}`,
  ];
  // Its own process group, so that what it started and lost can be ended with it.
  const child = spawn(process.execPath, [...reporters, options.file], {
    detached: true,
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killGroup = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The group is empty: nothing was left.
    }
  };
  process.on('exit', killGroup);
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const end = await new Promise<End>((resolve) => {
    const guard = setTimeout(() => resolve({ kind: 'hang' }), options.timeoutMs);
    child.on('exit', (code, signal) => {
      clearTimeout(guard);
      resolve({ kind: 'exit', status: code ?? signal ?? 'nothing' });
    });
  });
  killGroup();
  process.off('exit', killGroup);
  return { end, output };
}

function readReport(path: string): TestOutcome[] {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // It broke before its first test.
  }
  const lines = text.split('\n').filter((line) => line.endsWith('}'));
  return lines.map((line): TestOutcome => JSON.parse(line));
}

function problemOf(end: End, tests: readonly TestOutcome[], timeoutMs: number): string | undefined {
  if (end.kind === 'hang') return `did not end within ${timeoutMs / 1000} s`;
  const failed = tests.some((test) => test.outcome === 'failed');
  if (end.status !== 0 && !failed) return `ended with ${end.status}`;
  if (tests.length === 0) return 'holds no test';
  return undefined;
}
