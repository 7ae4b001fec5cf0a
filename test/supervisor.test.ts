/** The supervisor is killed under a mounted file system: nobody on it notices, the next `up` takes over, and `down` still ends all. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import type { StatusView } from '../src/control/schemas.ts';
import { until, whyNot } from './rigs/attach-rig.ts';
import {
  makeTestDirectory,
  processesOf,
  removeTestDirectory,
  sweepEarlierTests,
} from './rigs/control-rig.ts';

const MAIN = new URL('../src/main.ts', import.meta.url).pathname;
const run = promisify(execFile);
const skip = whyNot('mkfs.ext4');
const options = { timeout: 120_000, ...(skip === undefined ? {} : { skip }) };
let directory: string;
let data: string;

before(async () => {
  await sweepEarlierTests();
  directory = makeTestDirectory();
  data = path.join(directory, 'data');
});

after(() => removeTestDirectory(directory));

async function holdfast(...words: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [MAIN, ...words, '--data', data], {
    cwd: directory,
  });
  return stdout;
}

async function pidOf(role: string): Promise<number> {
  const status = JSON.parse(await holdfast('status', '--output', 'json')) as StatusView;
  return status.processes[role]?.pid ?? 0;
}

/** Appends to a file on the volume, with an fsync after each write, until its input ends; says how often, or what failed. */
function startWriter(file: string): ChildProcess {
  const program = `
    const fs = require('node:fs');
    const fd = fs.openSync(${JSON.stringify(file)}, 'a');
    let count = 0;
    const timer = setInterval(() => {
      try { fs.writeSync(fd, 'x'.repeat(4096)); fs.fsyncSync(fd); count++; }
      catch (error) { console.log('failed ' + error.code); process.exit(1); }
    }, 10);
    process.stdin.resume().on('end', () => { clearInterval(timer); fs.closeSync(fd); console.log('wrote ' + count); });`;
  return spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
}

test(
  'a killed supervisor fails no mounted file system, and the next one takes over',
  options,
  async () => {
    await holdfast('up', '--detach', '--drive-size', '1GiB', '--sparse');
    await holdfast('volume', 'create', 'v', '--size', '256MiB');
    await holdfast('volume', 'mount', 'v');
    const attacher = await pidOf('attacher');
    const writer = startWriter(path.join(data, 'mnt', 'v', 'journal'));
    let said = '';
    writer.stdout?.on('data', (chunk) => (said += String(chunk)));
    await sleep(300);

    process.kill(await pidOf('supervisor'), 'SIGKILL');
    await holdfast('up', '--detach');
    assert.equal(await pidOf('attacher'), attacher, 'the attacher is the same process');
    const size = fs.statSync(path.join(data, 'mnt', 'v', 'journal')).size;
    await until(() => fs.statSync(path.join(data, 'mnt', 'v', 'journal')).size > size);
    writer.stdin?.end();
    await once(writer, 'close');
    assert.match(said, /^wrote \d+\n$/);
  },
);

test(
  'an adopted attacher that dies is started again, and its volumes are mounted again',
  options,
  async () => {
    const attacher = await pidOf('attacher');
    process.kill(attacher, 'SIGKILL');
    await until(async () => {
      const pid = await pidOf('attacher').catch(() => 0);
      return pid !== 0 && pid !== attacher;
    });
    // Of the dead device, an fsync fails; and where nothing is mounted there is no journal: opened so, none is made.
    await until(() => {
      try {
        const fd = fs.openSync(path.join(data, 'mnt', 'v', 'journal'), 'r+');
        try {
          fs.writeSync(fd, 'y', 0);
          fs.fsyncSync(fd);
        } finally {
          fs.closeSync(fd);
        }
        return true;
      } catch {
        return false;
      }
    });
    const status = JSON.parse(await holdfast('status', '--output', 'json')) as StatusView;
    assert.match(JSON.stringify(status.events), /had lost its block device/);
  },
);

test('down ends an adopted attacher with all else', options, async () => {
  process.kill(await pidOf('supervisor'), 'SIGKILL');
  await holdfast('up', '--detach');
  await holdfast('down');
  assert.deepEqual(processesOf(directory), []);
  const mounts = fs.readFileSync('/proc/self/mounts', 'utf8');
  assert.ok(!mounts.includes(directory), 'nothing of it is mounted');
});
