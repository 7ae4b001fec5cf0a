/** Runs the machine's own programs (mkfs, mount, fsck) and tells what came of it. */

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

import { PROGRAM_MARK } from './left-programs.ts';

export type ProgramResult =
  | { readonly kind: 'ended'; readonly status: number; readonly output: string }
  /** It is not installed. */
  | { readonly kind: 'missing' };

/** File system programs live in sbin, which is in the path of root only. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const E2FSCK_CONFIG = new URL('./e2fsck.conf', import.meta.url).pathname;
/** Messages in English, so that those who look one up find it. */
const ENVIRONMENT = { PATH, LC_ALL: 'C', E2FSCK_CONFIG, ...PROGRAM_MARK };
/** mkfs and fsck print a few lines; a corrupt file system makes them print one for each mistake. */
const OUTPUT_BYTES_MAX = 1_048_576;

/** Runs `program` to its end. `output` is what it printed to both streams. */
export function runProgram(program: string, ...values: readonly string[]): Promise<ProgramResult> {
  const options = {
    env: ENVIRONMENT,
    maxBuffer: OUTPUT_BYTES_MAX,
  };
  return new Promise((resolve) => {
    execFile(program, values, options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim();
      if (error === null) resolve({ kind: 'ended', status: 0, output });
      else if (error.code === 'ENOENT') resolve({ kind: 'missing' });
      else resolve({ kind: 'ended', status: statusOf(error), output });
    });
  });
}

/** What it says when nobody listens any more is lost, and does not end it: left to itself it comes to its end. */
const UNDER_NOBODY = ['-c', 'trap "" PIPE; exec "$0" "$@"'] as const;

/** The same for a program that says on descriptor 3 how far it is, in lines, each of which `onLine` gets. */
export function runReportingProgram(
  program: string,
  values: readonly string[],
  onLine: (line: string) => void,
): Promise<ProgramResult> {
  if (!isInstalled(program)) return Promise.resolve({ kind: 'missing' });
  const child = spawn('/bin/sh', [...UNDER_NOBODY, program, ...values], {
    env: ENVIRONMENT,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output = `${output}${chunk.toString()}`.slice(-OUTPUT_BYTES_MAX);
    });
  }
  const reports = child.stdio[3];
  if (reports instanceof Readable) createInterface({ input: reports }).on('line', onLine);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({ kind: 'ended', status: code ?? 255, output: output.trim() }),
    );
  });
}

const isInstalled = (program: string): boolean =>
  PATH.split(':').some((directory) => fs.existsSync(path.join(directory, program)));

/** Killed, or more output than is kept: as bad as any failure. */
function statusOf(error: { readonly code?: number | string | null | undefined }): number {
  return typeof error.code === 'number' ? error.code : 255;
}
