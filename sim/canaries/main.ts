/**
 * Runs the canaries: `node sim/canaries/main.ts [--of store|replication|placement] [--only 3,7] [--seeds N] [--short]`. Each is a patch on a copy of src/ and sim/, on
 * which the simulator runs until it reports a violation. Status 1 when one survives or has rotted.
 */

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, UsageError } from '../../src/lib/count-option.ts';
import { readOptions } from '../options.ts';
import { CANARIES } from './canaries.ts';
import type { Canary } from './canary.ts';
import { PLACEMENT_CANARIES } from './placement-canaries.ts';
import { REPLICATION_CANARIES } from './replication-canaries.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Two at a time: a history keeps one core busy. */
const PARALLEL = 2;
/** Caught within some dozen seeds: for `npm test`. */
const SHORT = new Set([1, 2, 5, 6, 13, 17, 20, 22, 212]);
const SEEDS_MAX = 2000;
const CONTROL_SEEDS = 5;

type Result =
  | { readonly kind: 'caught'; readonly seed: number; readonly how: string }
  | { readonly kind: 'survived' }
  | { readonly kind: 'rotted'; readonly why: string };

/** A copy of the sources: taken once, so that what is edited meanwhile changes nothing. */
function copySources(from: string, directory: string): void {
  for (const folder of ['src', 'sim']) {
    fs.cpSync(path.join(from, folder), path.join(directory, folder), { recursive: true });
  }
  fs.copyFileSync(path.join(from, 'package.json'), path.join(directory, 'package.json'));
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'));
}

/** Patches the sources in `directory`; returns why it cannot be done, or undefined. */
function plant(canary: Canary, directory: string): string | undefined {
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

function argumentsOf(focus: Canary['focus'], seeds: number): string[] {
  switch (focus) {
    case 'small scope':
      return ['sim/replication/explore-main.ts', '--scope', '1,0,0,0'];
    case 'replication':
    case 'placement':
      return [`sim/${focus}/main.ts`, '--seeds', String(seeds)];
    default:
      return ['sim/main.ts', '--seeds', String(seeds), '--focus', focus];
  }
}

function simulate(directory: string, focus: Canary['focus'], seeds: number): Promise<Result> {
  const args = argumentsOf(focus, seeds);
  const child = spawn(process.execPath, args, { cwd: directory });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  return new Promise((resolve) => {
    child.on('close', (status) => {
      // Only what the checkers or the program's own assertions say counts: a patch that does not even run proves nothing.
      const found = /(?:SEED|HISTORY) (\d+) FAILED.*\n\s*((?:Violation|Bug): .*)/.exec(output);
      if (found !== null) resolve({ kind: 'caught', seed: Number(found[1]), how: found[2] ?? '' });
      else if (status === 0) resolve({ kind: 'survived' });
      else resolve({ kind: 'rotted', why: output.slice(0, 400) });
    });
  });
}

async function inCopy<T>(from: string, run: (directory: string) => Promise<T>): Promise<T> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'canary-'));
  try {
    copySources(from, directory);
    return await run(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function fly(base: string, canary: Canary, seeds: number): Promise<Result> {
  return inCopy(base, async (directory) => {
    const why = plant(canary, directory);
    return why === undefined ? simulate(directory, canary.focus, seeds) : { kind: 'rotted', why };
  });
}

/** Without a canary nothing may be found, or what is found with one says nothing. */
async function control(base: string, focuses: ReadonlySet<Canary['focus']>): Promise<void> {
  for (const focus of focuses) {
    const result = await simulate(base, focus, CONTROL_SEEDS);
    if (result.kind === 'survived') continue;
    const why = result.kind === 'caught' ? `seed ${result.seed}: ${result.how}` : result.why;
    throw new Error(`the store fails without any canary (focus ${focus}): ${why}`);
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

function listed(of: string | undefined): readonly Canary[] {
  if (of === 'store') return CANARIES;
  if (of === 'replication') return REPLICATION_CANARIES;
  if (of === 'placement') return PLACEMENT_CANARIES;
  if (of !== undefined) {
    throw new UsageError(`There are no canaries of "${of}": store, replication or placement`);
  }
  return [...CANARIES, ...REPLICATION_CANARIES, ...PLACEMENT_CANARIES];
}

const { chosen, seeds } = readOptions(() => {
  const { values } = parseArgs({
    options: {
      of: { type: 'string' },
      only: { type: 'string' },
      seeds: { type: 'string', default: String(SEEDS_MAX) },
      short: { type: 'boolean', default: false },
    },
  });
  const only = values.only?.split(',').map((text) => countOption('only', text));
  const all = listed(values.of);
  const unknown = only?.find((wanted) => !all.some(({ number }) => number === wanted));
  if (unknown !== undefined) throw new UsageError(`There is no canary ${unknown}`);
  return {
    chosen: all.filter(({ number }) =>
      only ? only.includes(number) : !values.short || SHORT.has(number),
    ),
    seeds: countOption('seeds', values.seeds),
  };
});
const queue = [...chosen];
let dead = 0;
await inCopy(ROOT, async (base) => {
  await control(base, new Set(chosen.map(({ focus }) => focus)));
  const work = async (): Promise<void> => {
    for (let canary = queue.shift(); canary !== undefined; canary = queue.shift()) {
      const result = await fly(base, canary, seeds);
      print(canary, result);
      if (result.kind === 'caught') dead++;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
});
process.stdout.write(`${dead} of ${chosen.length} canaries caught\n`);
if (dead < chosen.length) process.exitCode = 1;
