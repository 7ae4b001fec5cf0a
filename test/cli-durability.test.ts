/** `holdfast verify-durability`: its examples, its answers to programs, and that a number is told behind the flush of its record. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { SLOT_COUNT, WITNESS_FILE_NAME } from '../src/durability/witness-records.ts';
import { useCliRig } from './rigs/cli-rig.ts';

const HOLDFAST = new URL('../bin/holdfast', import.meta.url).pathname;
const STRACE = '/usr/bin/strace';
const rig = useCliRig();
const cwd = rig.directory;

async function exampleOf(words: string): Promise<string[]> {
  const { out } = await rig.run([...words.split(' '), '--help']);
  const example = /^Example:\n {2}holdfast (.*)$/m.exec(out)?.[1] ?? '';
  assert.ok(example.startsWith(words), out);
  return example.split(' ');
}

test('the examples run, for people and as JSON', async () => {
  const judge = await exampleOf('verify-durability');
  const judged = await rig.run([...judge, '--output', 'json'], { cwd });
  const { verdict, timing } = JSON.parse(judged.out);
  assert.equal(judged.code, verdict.kind === 'refuted' ? 1 : 0);
  assert.ok(timing.flushCount > 0 && timing.flushMedianUs > 0);
  assert.match((await rig.run(judge, { cwd })).out, /flush/);

  const write = await exampleOf('verify-durability run');
  const lines = (await rig.run([...write, '--output', 'json'], { cwd })).out.trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).last),
    [16, 32, 48, 64],
  );
  assert.equal((await rig.run(write, { cwd })).out, '16\n32\n48\n64\n');

  const check = await exampleOf('verify-durability check');
  const kept = await rig.run([...check, '--output', 'json'], { cwd });
  assert.equal(kept.code, 0);
  assert.equal(JSON.parse(kept.out).kind, 'kept');
  assert.match((await rig.run(check, { cwd })).out, /^All 64 flushed records/);
});

test('what is lost, or cannot be told, ends with 1', async () => {
  await rig.run(['verify-durability', 'run', '--records', '64'], { cwd });
  fs.truncateSync(path.join(cwd, WITNESS_FILE_NAME), 40 * 4096);
  const lost = await rig.run(['verify-durability', 'check', '--last', '64'], { cwd });
  assert.equal(lost.code, 1);
  assert.match(lost.out, /^The drive lost flushed data: records 40\.\.64/);
  fs.rmSync(path.join(cwd, WITNESS_FILE_NAME));
  const words = ['verify-durability', 'check', '--last', '64', '--output', 'json'];
  const unknown = await rig.run(words, { cwd });
  assert.equal(unknown.code, 1);
  assert.equal(JSON.parse(unknown.out).kind, 'unknown');
});

test(
  'a number is told when its record is flushed, and a flush is timed behind its write',
  fs.existsSync(STRACE) ? {} : { skip: 'strace not installed' },
  async () => {
    const run = await traced('verify-durability', 'run', '--batch', '16', '--records', '48');
    assert.match(run, new RegExp(`^w{${SLOT_COUNT}}F(w{16}fn){3}$`));
    const timed = await traced('verify-durability', '--path', '.');
    assert.match(timed, /^w{1024}F(wf)+/);
  },
);

/**
 * What the command did to files and told, in order: `w` a block written, `f` fdatasync, `F` fsync of a file, `n` something printed. Each is
 * a call that succeeded.
 */
async function traced(...words: string[]): Promise<string> {
  const prefix = path.join(cwd, 'trace');
  const trace = ['-ff', '-qq', '--trace=pwrite64,fdatasync,fsync,write', '-o', prefix];
  await rig.run([...trace, HOLDFAST, ...words], { cwd, program: STRACE });
  const names = fs.readdirSync(cwd).filter((name) => name.startsWith('trace.'));
  const threads = names.map((name) => {
    const text = fs.readFileSync(path.join(cwd, name), 'utf8');
    fs.rmSync(path.join(cwd, name));
    return text;
  });
  const text = threads.find((each) => each.includes('pwrite64(')) ?? '';
  return text
    .split('\n')
    .map((line) => {
      if (/^pwrite64\(.* = 4096$/.test(line)) return 'w';
      if (/^fdatasync\(.* = 0$/.test(line)) return 'f';
      if (/^fsync\(.* = 0$/.test(line)) return 'F';
      return line.startsWith('write(1, ') ? 'n' : '';
    })
    .join('')
    .replaceAll(/F+/g, 'F');
}
