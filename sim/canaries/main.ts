/**
 * Runs the canaries: `node sim/canaries/main.ts [--only 3,7] [--seeds N] [--short]`. Each is a patch on a copy of src/ and sim/, on
 * which the simulator runs until it reports a violation. Status 1 when one survives or has rotted.
 */

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CANARIES } from './canaries.ts';
import type { Canary } from './canary.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Two at a time: a history keeps one core busy. */
const PARALLEL = 2;
/** Caught within some dozen seeds: for `npm test`. */
const SHORT = new Set([1, 2, 5, 6, 13, 17, 20, 22]);
const SEEDS_MAX = 2000;

type Result =
  | { readonly kind: 'caught'; readonly seed: number; readonly how: string }
  | { readonly kind: 'survived' }
  | { readonly kind: 'rotted'; readonly why: string };

/** Copies the sources with the canary in them; returns why it cannot be done, or undefined. */
function plant(canary: Canary, directory: string): string | undefined {
  for (const folder of ['src', 'sim']) {
    fs.cpSync(path.join(ROOT, folder), path.join(directory, folder), { recursive: true });
  }
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(directory, 'package.json'));
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'));
  for (const { file, find, replace } of canary.patches) {
    const place = path.join(directory, file);
    const source = fs.readFileSync(place, 'utf8');
    const count = source.split(find).length - 1;
    if (count !== 1) return `"${find}" occurs ${count} times in ${file}`;
    fs.writeFileSync(
      place,
      source.replace(find, () => replace),
    );
  }
  return undefined;
}

function simulate(directory: string, canary: Canary, seeds: number): Promise<Result> {
  const args = ['sim/main.ts', '--seeds', String(seeds), '--focus', canary.focus];
  const child = spawn(process.execPath, args, { cwd: directory });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  return new Promise((resolve) => {
    child.on('close', (status) => {
      const found = /SEED (\d+) FAILED.*\n\s*(.*)/.exec(output);
      if (found !== null) resolve({ kind: 'caught', seed: Number(found[1]), how: found[2] ?? '' });
      else if (status === 0) resolve({ kind: 'survived' });
      // A patch that does not even run proves nothing.
      else resolve({ kind: 'rotted', why: output.slice(-300) });
    });
  });
}

async function fly(canary: Canary, seeds: number): Promise<Result> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `canary-${canary.number}-`));
  try {
    const why = plant(canary, directory);
    return why === undefined ? await simulate(directory, canary, seeds) : { kind: 'rotted', why };
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function print(canary: Canary, result: Result): void {
  const start = `${String(canary.number).padStart(2)}  ${canary.name.padEnd(56)} ${canary.focus.padEnd(9)}`;
  const end =
    result.kind === 'caught'
      ? `caught at seed ${result.seed}: ${result.how.slice(0, 110)}`
      : result.kind === 'survived'
        ? 'SURVIVED'
        : `canary rotted: ${result.why}`;
  process.stdout.write(`${start} ${end}\n`);
}

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seeds: { type: 'string', default: String(SEEDS_MAX) },
    short: { type: 'boolean', default: false },
  },
});
const only = values.only?.split(',').map(Number);
const chosen = CANARIES.filter(({ number }) =>
  only ? only.includes(number) : !values.short || SHORT.has(number),
);
const queue = [...chosen];
let dead = 0;
await Promise.all(
  Array.from({ length: PARALLEL }, async () => {
    for (let canary = queue.shift(); canary !== undefined; canary = queue.shift()) {
      const result = await fly(canary, Number(values.seeds));
      print(canary, result);
      if (result.kind === 'caught') dead++;
    }
  }),
);
process.stdout.write(`${dead} of ${chosen.length} canaries caught\n`);
if (dead < chosen.length) process.exitCode = 1;
