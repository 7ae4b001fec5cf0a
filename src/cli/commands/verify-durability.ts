/** holdfast verify-durability: what a disk's flush is worth, from what can be seen, and from a power cut. */

import fs from 'node:fs';
import path from 'node:path';

import type { Command } from 'commander';

import { Refusal } from '../../model/errors.ts';
import { addCommand, contextOf } from '../context.ts';

/** Records of one flush, unless --batch says another number. */
const BATCH_COUNT = 16;
const EXIT_LOST = 1;

export function addVerifyDurability(program: Command): void {
  const verify = addCommand(program, 'verify-durability', {
    purpose:
      'Tells what the flush of a disk is worth: looks at the disk and times its flushes. "run" and "check" prove it with a power cut.',
    example: 'holdfast verify-durability --path .',
    isLocal: true,
  })
    .option('--path <folder>', 'a folder on the disk', '.')
    .action((options: { path: string }, command: Command) => judge(options.path, command));
  addCommand(verify, 'run', {
    purpose:
      'Writes numbered records, flushes, and prints each number that is promised, a line for each. Watch it from another machine (ssh), then cut the power.',
    example: 'holdfast verify-durability run --path . --records 64',
    isLocal: true,
  })
    .option('--path <folder>', 'a folder on the disk', '.')
    .option('--batch <count>', 'records of one flush', String(BATCH_COUNT))
    .option('--records <count>', 'stop after so many (default: at Ctrl-C or the cut)')
    .action((options: { path: string; batch: string; records?: string }, command: Command) =>
      run(options, command),
    );
  addCommand(verify, 'check', {
    purpose: 'After the cut: whether every record up to the last number that was printed is there.',
    example: 'holdfast verify-durability check --path . --last 64',
    isLocal: true,
  })
    .option('--path <folder>', 'the folder of the run', '.')
    .requiredOption('--last <number>', 'the last number that the run printed')
    .action(async (options: { path: string; last: string }, command: Command) => {
      const { checkWitness } = await import('../../durability/witness-records.ts');
      const { output } = contextOf(command);
      const folder = folderOf(pathOf(options, command));
      const result = checkWitness(folder, countOf('--last', options.last, Number.MAX_SAFE_INTEGER));
      output.result(result, result.summary);
      if (result.kind !== 'kept') process.exitCode = EXIT_LOST;
    });
}

/** An option of the same name on the parent command takes the word first; the nearest one that was given counts. */
function pathOf(options: { readonly path: string }, command: Command): string {
  const above = command.parent?.opts<{ path?: string }>().path;
  return options.path === '.' && above !== undefined ? above : options.path;
}

async function judge(folder: string, command: Command): Promise<void> {
  const { readDeviceFacts } = await import('../../durability/device-facts.ts');
  const { timeFlushes } = await import('../../durability/flush-timing.ts');
  const { judgeFlush } = await import('../../durability/flush-verdict.ts');
  const { output } = contextOf(command);
  const at = folderOf(folder);
  const facts = readDeviceFacts(at);
  const timing = timeFlushes(at, facts);
  const verdict = judgeFlush(facts, timing);
  const lines = [verdict.summary, ...verdict.reasons.map((reason) => `  ${reason}`)];
  output.result({ verdict, facts, timing }, lines.join('\n'));
  if (verdict.kind === 'refuted') process.exitCode = EXIT_LOST;
}

async function run(
  options: { readonly path: string; readonly batch: string; readonly records?: string },
  command: Command,
): Promise<void> {
  const { BATCH_COUNT_MAX, WitnessWriter } = await import('../../durability/witness-records.ts');
  const { output } = contextOf(command);
  const folder = folderOf(pathOf(options, command));
  const batch = countOf('--batch', options.batch, BATCH_COUNT_MAX);
  const limit =
    options.records === undefined
      ? Number.POSITIVE_INFINITY
      : countOf('--records', options.records, Number.MAX_SAFE_INTEGER);
  const writer = new WitnessWriter(folder);
  let stopped = false;
  process.once('SIGINT', () => (stopped = true));
  output.note(
    `Each number printed is promised. Afterwards: holdfast verify-durability check --path ${folder} --last NUMBER`,
  );
  let last = 0;
  while (!stopped && last < limit) {
    last = writer.next(Math.min(batch, limit - last));
    const promise = output.kind === 'text' ? last : JSON.stringify({ last, runId: writer.runId });
    stopped ||= !(await isPrinted(`${promise}\n`));
    await new Promise((resolve) => setImmediate(resolve));
  }
  writer.close();
}

/** Waits until the system has it: a number must not wait in a buffer behind the next flush. False: nobody reads any more. */
function isPrinted(line: string): Promise<boolean> {
  return new Promise((resolve) => {
    process.stdout.write(line, (error) => resolve(error == null));
  });
}

function folderOf(folder: string): string {
  const at = path.resolve(folder);
  if (fs.statSync(at, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Refusal('PATH_INVALID', { path: at, problem: 'it is no folder' });
  }
  return at;
}

function countOf(option: string, text: string, most: number): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1 || count > most) {
    throw new Refusal('INPUT_INVALID', {
      problem: `${option} is a whole number from 1 to ${most}, not "${text}"`,
    });
  }
  return count;
}
