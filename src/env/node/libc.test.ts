/** Each C signature of libc.ts, against what Node or the system's tools say. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';

import { EBADF, EAGAIN, EBUSY, EINVAL, ErrnoError } from '../../model/errno.ts';
import { Trial } from '../io-trial.ts';
import { openLibc } from './libc.ts';
import { realSetups } from './trial-setup.ts';

const IMAGE_BYTES = 16_777_216;

suite('libc', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  after(() => fs.rmSync(folder, { recursive: true }));
  const libc = openLibc();

  test('locks exclude', () => {
    const file = path.join(folder, 'lock');
    const first = fs.openSync(file, 'w');
    const second = fs.openSync(file, 'w');
    assert.equal(libc.lockExclusive(first), 0);
    assert.equal(libc.lockExclusive(second), EAGAIN);
    fs.closeSync(first);
    assert.equal(libc.lockExclusive(second), 0);
    fs.closeSync(second);
    assert.equal(libc.lockExclusive(second), EBADF);
  });

  test('reserve gives space for offsets beyond 4 GiB of a sparse size, or an errno', async () => {
    const fd = fs.openSync(path.join(folder, 'reserve'), 'w');
    fs.ftruncateSync(fd, IMAGE_BYTES);
    assert.equal(await libc.reserve(fd, IMAGE_BYTES), 0);
    assert.ok(fs.fstatSync(fd).blocks * 512 >= IMAGE_BYTES);
    assert.equal(fs.fstatSync(fd).size, IMAGE_BYTES);
    assert.equal(await libc.reserve(fd, -1), EINVAL);
    fs.closeSync(fd);
    assert.equal(await libc.reserve(fd, 1), EBADF);
  });

  test('direct alignment is what a direct read takes', () => {
    const file = path.join(folder, 'direct');
    fs.writeFileSync(file, new Uint8Array(IMAGE_BYTES));
    const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_DIRECT);
    const alignment = libc.directAlignmentBytes(fd);
    const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer);
    if (alignment !== undefined) {
      assert.ok([512, 4096].includes(alignment), `alignment ${alignment}`);
      assert.equal(fs.readSync(fd, bytes, 0, alignment, alignment), alignment);
    }
    fs.closeSync(fd);
    assert.equal(libc.directAlignmentBytes(fd), undefined);
  });

  test('a file has no block device size', () => {
    const fd = fs.openSync(path.join(folder, 'plain'), 'w');
    assert.ok(libc.blockSizeBytes(fd) < 0);
    assert.ok(libc.blockSectorBytes(fd) < 0);
    fs.closeSync(fd);
  });

  fs.writeFileSync(path.join(folder, 'image'), new Uint8Array(IMAGE_BYTES));
  const device = loopDevice(path.join(folder, 'image'));
  const second = loopDevice(path.join(folder, 'image'));
  after(() => {
    for (const each of [device, second]) if (each) execFileSync('losetup', ['-d', each]);
  });
  const skip = device === undefined && 'no loop devices here';

  test('a loop device over a file that is taken is taken, too', { skip }, async () => {
    const setup = await realSetups({ io: 'auto', memoryBytes: 65_536 })();
    await new Trial(setup).run(async ({ env: { files } }) => {
      const { fd } = await files.open(path.join(folder, 'image'), { exclusive: true });
      const taken = (error: unknown) => error instanceof ErrnoError && error.errno === EAGAIN;
      await assert.rejects(files.open(device!, { exclusive: true }), taken);
      await files.close(fd);
      const { fd: again } = await files.open(device!, { exclusive: true });
      const image = path.join(folder, 'image');
      await assert.rejects(files.open(image, { exclusive: true }), busy, 'and the file below it');
      await assert.rejects(files.open(second!, { exclusive: true }), busy, 'and its other devices');
      await files.close(again);
      await files.close((await files.open(image, { exclusive: true })).fd);
    });
    await setup.cleanUp();
  });

  test('a block device tells its size and sector, and is taken once', { skip }, async () => {
    const setup = await realSetups({ io: 'auto', memoryBytes: 65_536 })();
    await new Trial(setup).run(async (trial) => {
      const { files } = trial.env;
      const options = { direct: true, exclusive: true };
      const opened = await files.open(device!, options);
      assert.equal(opened.kind, 'block');
      assert.equal(opened.sizeBytes, IMAGE_BYTES);
      assert.equal(opened.sectorBytes, 512);
      await assert.rejects(files.open(device!, options), busy);
      trial.bytes.fill(5, 0, 4096);
      assert.equal(await trial.write(opened.fd, 4096, 0, 4096), 4096);
      assert.equal(await trial.flush(opened.fd), 0);
      assert.equal(await trial.close(opened.fd), 0);
    });
    await setup.cleanUp();
  });
});

function busy(error: unknown): boolean {
  return error instanceof ErrnoError && error.errno === EBUSY;
}

/** A loop device over the image, or undefined where there is none. */
function loopDevice(image: string): string | undefined {
  try {
    return execFileSync('losetup', ['-f', '--show', image], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
