import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runOk } from '../../bench/lib/processes.ts';
import { ENTRY_BYTES, ENTRY_KINDS } from './io-journal.ts';

const LOADER = new URL('load.mjs', import.meta.url).href;
const PROGRAM = fileURLToPath(new URL('write-and-flush.ts', import.meta.url));

/** Runs a program that writes two blocks and flushes once; returns how long its flush took, in ms. */
async function runProgram(
  io: string,
  env: Record<string, string>,
  role = 'engine',
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-hooks-'));
  try {
    const args = [`--import=${LOADER}`, PROGRAM, role, io, join(folder, 'file')];
    return Number(await runOk(process.execPath, args, { env: { ...process.env, ...env } }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const io of ['auto', 'node']) {
  test(`slow-flush-io delays the engine's flush, and nobody else's (io ${io})`, async () => {
    const env = { HOLDFAST_TEST_HOOKS: 'slow-flush-io', HOLDFAST_TEST_FLUSH_DELAY_US: '300000' };
    assert.ok((await runProgram(io, env)) >= 300);
    assert.ok((await runProgram(io, env, 'control')) < 300);
  });

  test(`recording-io writes submissions, bytes and completions in order (io ${io})`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
    try {
      const path = join(folder, 'journal');
      await runProgram(io, { HOLDFAST_TEST_HOOKS: 'recording-io', HOLDFAST_TEST_JOURNAL: path });
      const journal = readFileSync(path);
      const kinds: number[] = [];
      let firstByte: number | undefined;
      for (let at = 0; at < journal.length; at += ENTRY_BYTES) {
        kinds.push(journal.readUInt32LE(at));
        const isWrite = journal.readUInt32LE(at) === ENTRY_KINDS.writeSubmitted;
        if (isWrite && journal.readUInt32LE(at + 40) === 0) {
          firstByte = journal[at + ENTRY_BYTES];
          at += journal.readUInt32LE(at + 32);
        }
      }
      // One write of bytes, one of zeros, then the flush; the makers' self-tests come before.
      const { writeSubmitted, flushSubmitted, completed } = ENTRY_KINDS;
      const expected = [
        writeSubmitted,
        completed,
        writeSubmitted,
        completed,
        flushSubmitted,
        completed,
      ];
      assert.deepEqual(kinds.slice(-expected.length), expected);
      assert.equal(firstByte, 0x77);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
