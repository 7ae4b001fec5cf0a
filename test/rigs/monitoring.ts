/** Reads metrics as Prometheus does, and runs its tools. */

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';

import { CMD_FLUSH, CMD_READ, CMD_WRITE } from '../../src/wire/nbd/constants.ts';
import { NbdRawClient } from '../nbd-raw-client.ts';

const PROMTOOL = '/usr/bin/promtool';

/** Options of tests that need Prometheus' tools. */
export const promtool: { readonly skip?: string } = fs.existsSync(PROMTOOL)
  ? {}
  : { skip: 'promtool is not installed (apt install prometheus)' };

/** Runs promtool to its end; `input` goes to its standard input. */
export function runPromtool(
  words: readonly string[],
  input = '',
): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(PROMTOOL, words, { input, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

/** One scrape. */
export function scrape(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path: '/metrics' }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => resolve(Buffer.concat(chunks).toString()));
      answer.on('error', reject);
    });
    request.on('error', reject);
  });
}

/** The value of one series, written as in the exposition: `name{label="value"}`; undefined where there is none. */
export function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

/** A client of the NBD server that an `nbd+unix` URI names. */
export function clientOf(uri: string): Promise<NbdRawClient> {
  const [, name = '', socket = ''] = /:\/\/\/(\w+)\?socket=(.*)$/.exec(uri) ?? [];
  return NbdRawClient.attach(decodeURIComponent(socket), { name });
}

/** One write, one flush and one read of a volume, so that it has metrics of each. */
export async function askEach(uri: string): Promise<void> {
  const client = await clientOf(uri);
  for (const request of [
    { type: CMD_WRITE, offset: 0, data: Buffer.alloc(4096, 1) },
    { type: CMD_FLUSH },
    { type: CMD_READ, offset: 0, length: 4096 },
  ]) {
    client.request(request);
    await client.reply();
  }
  client.destroy();
}

/** Flips a bit in each place of `file` where `pattern` is. Returns how many there were. */
export function rotEverywhere(file: string, pattern: Buffer): number {
  const fd = fs.openSync(file, 'r+');
  const piece = Buffer.alloc(1 << 20);
  let count = 0;
  try {
    for (let at = 0; ; at += piece.length) {
      const length = fs.readSync(fd, piece, 0, piece.length, at);
      if (length === 0) break;
      for (
        let found = piece.indexOf(pattern);
        found >= 0;
        found = piece.indexOf(pattern, found + 1)
      ) {
        fs.writeSync(fd, Buffer.from([pattern[0]! ^ 1]), 0, 1, at + found);
        count++;
      }
    }
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  return count;
}
