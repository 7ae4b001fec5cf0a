import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import type { DriveRecord, VolumeRecord } from '../model/records.ts';
import { RecordPaths } from './record-paths.ts';

const volume = (mountPath: string, socketPath: string): VolumeRecord => ({
  name: 'v',
  id: 'id',
  drive: 'd',
  sizeBytes: 1,
  state: 'ready',
  createdAtMs: 0,
  epoch: 1,
  attachment: { attachId: 'a', wanted: 'nbd', state: 'attached', socketPath, device: undefined },
  mount: { path: mountPath, fsType: 'ext4', force: false, state: 'mounted', attached: true },
  resizeToBytes: undefined,
});

test('paths inside an installation are those of where it is now, and others stay', () => {
  const before = new RecordPaths('/data');
  const now = new RecordPaths('/elsewhere');
  const move = (record: VolumeRecord): VolumeRecord =>
    now.volume(before.toKept('volume/v', record) as VolumeRecord);
  const socket = '/data/run/nbd/a.sock';
  const moved = '/elsewhere/run/nbd/a.sock';
  assert.deepEqual(move(volume('/data/mnt/v', socket)), volume('/elsewhere/mnt/v', moved));
  assert.deepEqual(move(volume('/srv/v', socket)), volume('/srv/v', moved));
  const drive = { name: 'd', path: '/data/drives/d.img' } as DriveRecord;
  const kept = before.toKept('drive/d', drive) as DriveRecord;
  assert.equal(now.drive(kept).path, '/elsewhere/drives/d.img');
});

test('a mount below a directory that is reached by a link is known by the name that the kernel has', (t) => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-paths-')));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.mkdirSync(path.join(folder, 'real'));
  fs.symlinkSync('real', path.join(folder, 'link'));
  const paths = new RecordPaths(path.join(folder, 'link'));
  for (const name of ['link', 'real']) {
    const record = volume(path.join(folder, name, 'mnt/v'), '/a.sock');
    const { mount } = paths.volume(paths.toKept('volume/v', record) as VolumeRecord);
    assert.equal(mount?.path, path.join(folder, 'real/mnt/v'));
  }
});
