/** A drive's file on a file system that a program serves: that one hangs, and the engine's thread does not. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';

import { whyNot } from './rigs/attach-rig.ts';
import { makeTestDirectory, removeTestDirectory } from './rigs/control-rig.ts';
import { IllDrives } from './rigs/ill-drives.ts';

const PROGRAM = new URL('rigs/hung-file-process.ts', import.meta.url).pathname;
const LIMIT_MS = 30_000;
const skip = whyNot();

test(
  'a flush that hangs does not hold up the thread that submits a write behind it',
  { skip },
  async () => {
    const folder = makeTestDirectory();
    const path = join(folder, 'drive');
    await writeFile(path, Buffer.alloc(8192));
    const drives = await IllDrives.start([path]);
    await drives.afflict(path, 'hangs');
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, PROGRAM, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    try {
      const said = once(child.stdout, 'data').then(String);
      assert.equal(
        await Promise.race([said, sleep(LIMIT_MS, undefined, { ref: false })]),
        'alive\n',
      );
    } finally {
      await drives.close();
      child.kill('SIGKILL');
      await ended;
      await removeTestDirectory(folder);
    }
  },
);
