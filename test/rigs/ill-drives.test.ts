/** The checker's own check: a drive that is ill is so, and is well again. */

import assert from 'node:assert/strict';
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';

import { whyNot } from './attach-rig.ts';
import { makeTestDirectory, removeTestDirectory } from './control-rig.ts';
import { IllDrives } from './ill-drives.ts';

const BLOCK_BYTES = 4096;
const skip = whyNot();

/** Whether each of 30 calls failed. */
async function failures(call: () => Promise<unknown>): Promise<boolean[]> {
  const failed: boolean[] = [];
  for (let count = 0; count < 30; count++) {
    failed.push(
      await call().then(
        () => false,
        (error: unknown) => {
          assert.ok(
            error instanceof Error && 'code' in error && error.code === 'EIO',
            String(error),
          );
          return true;
        },
      ),
    );
  }
  return failed;
}

const write = (file: FileHandle, byte: number): Promise<unknown> =>
  file.write(Buffer.alloc(BLOCK_BYTES, byte), 0, BLOCK_BYTES, 0);

const read = (file: FileHandle): Promise<unknown> =>
  file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, 0);

test(
  'a drive hangs, flushes slowly and fails as it is told, and is well again',
  { skip },
  async () => {
    const folder = makeTestDirectory();
    const path = join(folder, 'drive');
    await writeFile(path, Buffer.alloc(2 * BLOCK_BYTES));
    const drives = await IllDrives.start([path]);
    const file = await open(path, 'r+');
    try {
      await write(file, 1);
      assert.equal((await readFile(`${path}.below`))[0], 1, 'it passes on');

      await drives.afflict(path, 'fails');
      const writes = await failures(() => write(file, 2));
      assert.deepEqual(new Set(writes), new Set([true, false]));
      assert.ok(!(await failures(() => read(file))).includes(true), 'what it holds can be read');

      await drives.afflict(path, 'unreadable');
      assert.deepEqual(new Set(await failures(() => read(file))), new Set([true, false]));
      await write(file, 3);

      await drives.afflict(path, 'slow');
      const beginMs = performance.now();
      await file.datasync();
      assert.ok(performance.now() - beginMs >= 300);

      await drives.afflict(path, 'hangs');
      const waiting = write(file, 4).then(() => 'done');
      assert.equal(await Promise.race([waiting, sleep(100)]), undefined);
      assert.equal((await readFile(`${path}.below`))[0], 3);
      await drives.afflict(path, undefined);
      await waiting;
      assert.equal((await readFile(`${path}.below`))[0], 4);
    } finally {
      await drives.close();
      await file.close();
      await removeTestDirectory(folder);
    }
  },
);
