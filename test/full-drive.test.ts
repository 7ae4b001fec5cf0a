/** A drive that is full under mounted file systems: what was synced is there when space is free again, whatever restarted meanwhile. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { device, useCliRig } from './rigs/cli-rig.ts';

const MIB = 2 ** 20;
const FILES_MAX = 3000;
const rig = useCliRig();

/** Writes with an fsync of the file and of its directory: both returned, so the file is there for good. */
function writeSynced(file: string, pieces: readonly Buffer[], strideBytes: number): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const fd = fs.openSync(file, 'w');
  try {
    for (const [index, piece] of pieces.entries()) {
      fs.writeSync(fd, piece, 0, piece.length, index * strideBytes);
    }
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  const directory = fs.openSync(path.dirname(file), 'r');
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}

const digest = (file: string): string =>
  createHash('sha256').update(fs.readFileSync(file)).digest('hex');

/** Writes files of scattered pieces until there is no space. Resolves with the digest of each that was synced. */
function fill(folder: string): Map<string, string> {
  const synced = new Map<string, string>();
  for (let index = 0; index < FILES_MAX; index++) {
    const file = path.join(folder, `d${index % 7}`, `f${index}`);
    const pieces = Array.from({ length: 1 + (index % 29) }, () => randomBytes(4096));
    try {
      writeSynced(file, pieces, 151_552);
      synced.set(file, digest(file));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      assert.ok(code === 'ENOSPC' || code === 'EIO' || code === 'EROFS', String(error));
      return synced;
    }
  }
  assert.fail('the drive is full before');
}

// xfs keeps its log by itself: `HOLDFAST_LONG=1` looks at it too.
const TYPES =
  process.env['HOLDFAST_LONG'] === '1' ? (['ext4', 'xfs'] as const) : (['ext4'] as const);

for (const fsType of TYPES) {
  test(
    `what ${fsType} synced outlives a full drive, a restart and a refused mount`,
    { ...device, timeout: 120_000 },
    async () => {
      await rig.json('up', '--detach', '--sparse', '--drive-size', '512MiB');
      await rig.json('volume', 'create', 'filler', '--size', '256MiB');
      const filler = await rig.json('volume', 'mount', 'filler');
      writeSynced(
        path.join((filler['mount'] as { path: string }).path, 'f'),
        [randomBytes(120 * MIB)],
        0,
      );
      await rig.json('volume', 'unmount', 'filler');
      await rig.json('volume', 'create', 'big', '--size', '4GiB');
      const { mount } = await rig.json('volume', 'mount', 'big', '--fs', fsType);
      const folder = (mount as { path: string }).path;
      const large = path.join(folder, 'large');
      writeSynced(
        large,
        Array.from({ length: 100 }, () => randomBytes(MIB)),
        MIB,
      );
      const synced = fill(folder);
      synced.set(large, digest(large));
      assert.ok(synced.size > 1, 'something was synced before the drive was full');

      const ended = await rig.run(['down']);
      if (fsType === 'ext4')
        assert.match(ended.err, /is unmounted, but its ext4 had stopped writing/);
      await rig.json('up', '--detach');
      const told = await rig.run(['events', '--volume', 'big']);
      if (fsType === 'ext4')
        assert.match(told.out, /is unmounted, but its ext4 had stopped writing/);
      const refused = await rig.run(['volume', 'mount', 'big', '--fs', fsType, '--output', 'json']);
      // An xfs may have had nothing left to write back.
      if (fsType === 'ext4' || refused.code !== 0) assert.match(refused.err, /MOUNT_NO_ROOM/);
      await rig.json('volume', 'rm', 'filler', '--now', '--yes');
      await rig.json('volume', 'mount', 'big', '--fs', fsType);
      for (const [file, was] of synced) assert.equal(digest(file), was, file);

      const more = fill(path.join(folder, 'more'));
      const unclean = await rig.run(['volume', 'unmount', 'big']);
      if (fsType === 'ext4') {
        assert.equal(unclean.code, 1);
        assert.match(unclean.err, /is unmounted, but its ext4 had stopped writing before.*\nWhat/);
      }
      const { mount: none, attachment } = await rig.json('volume', 'inspect', 'big');
      assert.deepEqual(
        [none, attachment],
        [null, null],
        'it is unmounted and detached all the same',
      );
      assert.ok(more.size > 1);
      await rig.json('uninstall', '--yes');
    },
  );
}

test(
  'a drive that its only volume filled is made larger, and the volume is mounted again',
  { ...device, timeout: 120_000 },
  async () => {
    await rig.json('up', '--detach', '--sparse', '--drive-size', '320MiB');
    await rig.json('volume', 'create', 'only', '--size', '1GiB');
    const { mount } = await rig.json('volume', 'mount', 'only');
    const folder = (mount as { path: string }).path;
    const synced = fill(folder);
    await rig.json('down');
    await rig.json('up', '--detach');
    const refused = await rig.run(['volume', 'mount', 'only', '--output', 'json']);
    assert.match(refused.err, /holdfast drive grow default --size SIZE/);
    const explained = await rig.run(['explain', 'volume', 'only']);
    assert.match(explained.out, /drive grow default/);
    const smaller = await rig.run(['drive', 'grow', 'default', '--size', '128MiB']);
    assert.match(smaller.err, /it has 320 MiB.*does not shrink/);

    const grown = await rig.json('drive', 'grow', 'default', '--size', '640MiB');
    assert.equal(grown['sizeBytes'], 640 * MIB);
    for (let tries = 0; tries < 60; tries++) {
      const { mount: now } = await rig.json('volume', 'inspect', 'only');
      if ((now as { state: string }).state === 'mounted') break;
      await sleep(500);
    }
    for (const [file, was] of synced) assert.equal(digest(file), was, file);
    fs.rmSync([...synced.keys()][0] ?? '');
    await rig.json('volume', 'unmount', 'only');
    await rig.json('uninstall', '--yes');
  },
);
