/** Many seeds in several processes, with a file of results from which a run that was cut off goes on. */

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { unreached } from './coverage.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Seeds of one process. */
const CHUNK_SEEDS = 500;

/** What {@link runLong} keeps of a chunk, and main.ts prints with --json. */
export type ChunkResult = {
  readonly first: number;
  readonly count: number;
  readonly failures: readonly string[];
  /** Milliseconds of the median seed. */
  readonly medianMs: number;
  readonly counts: readonly (readonly [string, number])[];
};

export type LongPlan = {
  readonly first: number;
  readonly count: number;
  readonly processes: number;
  /** One line a chunk, after a line that names the commit. */
  readonly file: string;
};

/** Prints what came of it; the exit status. */
export async function runLong(plan: LongPlan): Promise<number> {
  const results = resume(plan.file);
  const queue: { readonly first: number; readonly count: number }[] = [];
  for (let first = plan.first; first < plan.first + plan.count; first += CHUNK_SEEDS) {
    const count = Math.min(CHUNK_SEEDS, plan.first + plan.count - first);
    if (!results.some((each) => each.first === first && each.count === count))
      queue.push({ first, count });
  }
  process.stdout.write(`${results.length} parts are there, ${queue.length} are left\n`);
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const result = await runChunk(next);
      results.push(result);
      fs.appendFileSync(plan.file, `${JSON.stringify(result)}\n`);
      const { first, count, failures, medianMs } = result;
      process.stdout.write(
        `seeds ${first} to ${first + count - 1}: ${failures.length} failed, median ${medianMs.toFixed(0)} ms\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: plan.processes }, work));
  return report(results);
}

function report(results: readonly ChunkResult[]): number {
  const totals = new Map<string, number>();
  for (const { counts } of results) {
    for (const [what, times] of counts) totals.set(what, (totals.get(what) ?? 0) + times);
  }
  for (const [what, times] of [...totals].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    process.stdout.write(`${String(times).padStart(9)}  ${what}\n`);
  }
  const failures = results.flatMap((each) => each.failures);
  for (const failure of failures) process.stdout.write(`${failure}\n`);
  const missing = unreached(totals);
  for (const what of missing) process.stdout.write(`never reached: ${what}\n`);
  const seeds = results.reduce((sum, each) => sum + each.count, 0);
  process.stdout.write(`${seeds} seeds, ${failures.length} failed, ${missing.length} unreached\n`);
  return failures.length + missing.length === 0 ? 0 : 1;
}

/** Results of this commit; those of another one are not mixed with them. */
function resume(file: string): ChunkResult[] {
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
    cwd: import.meta.dirname,
  })
    .toString()
    .trim();
  const header = JSON.stringify({ commit });
  if (fs.existsSync(file)) {
    const [first, ...rest] = fs.readFileSync(file, 'utf8').split('\n');
    if (first === header) {
      return rest.filter((line) => line !== '').map((line): ChunkResult => JSON.parse(line));
    }
    throw new Error(
      `${file} has results of another commit (${first}): name another file, or remove it`,
    );
  }
  fs.writeFileSync(file, `${header}\n`);
  return [];
}

function runChunk(chunk: { readonly first: number; readonly count: number }): Promise<ChunkResult> {
  const args = [
    MAIN,
    '--json',
    '--keep-going',
    '--first',
    String(chunk.first),
    '--seeds',
    String(chunk.count),
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  return new Promise((resolve, reject) => {
    child.on('close', (status) => {
      try {
        resolve(JSON.parse(output));
      } catch {
        reject(
          new Error(`seeds from ${chunk.first} on ended with ${status}: ${output.slice(0, 500)}`),
        );
      }
    });
  });
}
