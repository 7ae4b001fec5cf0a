/** Many seeds in several processes, with a file of results from which a run that was cut off goes on. */

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { reportOf, totalsOf, unreached } from './coverage.ts';
import type { SeedsResult } from './run-seeds.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Seeds of one process. */
const CHUNK_SEEDS = 500;

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

function report(results: readonly SeedsResult[]): number {
  for (const line of reportOf(results)) process.stdout.write(`${line}\n`);
  const seeds = results.reduce((sum, each) => sum + each.count, 0);
  const missing = unreached(totalsOf(results), seeds);
  for (const what of missing) process.stdout.write(`not reached often enough: ${what}\n`);
  const failed = results.some((each) => each.failures.length > 0);
  return failed || missing.length > 0 ? 1 : 0;
}

/** Results of this commit; those of another one are not mixed with them. */
function resume(file: string): SeedsResult[] {
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
    cwd: import.meta.dirname,
  })
    .toString()
    .trim();
  const header = JSON.stringify({ commit });
  if (fs.existsSync(file)) {
    const [first, ...rest] = fs.readFileSync(file, 'utf8').split('\n');
    if (first === header) {
      return rest.filter((line) => line !== '').map((line): SeedsResult => JSON.parse(line));
    }
    throw new Error(
      `${file} has results of another commit (${first}): name another file, or remove it`,
    );
  }
  fs.writeFileSync(file, `${header}\n`);
  return [];
}

function runChunk(chunk: { readonly first: number; readonly count: number }): Promise<SeedsResult> {
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
