import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, beforeEach, test } from 'node:test';

import { openLibc } from '../env/node/libc.ts';
import type { DriveRecord } from '../model/records.ts';
import { deleteDriveFile, recordsInode } from './drive-file.ts';

const BLOCKS = 8;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-test-'));
const file = path.join(directory, 'x.img');
fs.writeFileSync(path.join(directory, 'state.db'), '');

const drive: DriveRecord = {
  name: 'x',
  id: '00112233-4455-6677-8899-aabbccddeeff',
  path: file,
  made: true,
  madeBy: recordsInode(directory),
  sparse: true,
  force: false,
  sizeBytes: undefined,
  state: 'ready',
  createdAtMs: 0,
};

/** Writes the drive's file, with one superblock. */
function write(block: number, id = drive.id): void {
  const bytes = Buffer.alloc(BLOCKS * 4096);
  bytes.write('HOLDFAST', block * 4096);
  const words = id.replaceAll('-', '').match(/.{8}/g) ?? [];
  words.forEach((word, at) =>
    bytes.writeUInt32LE(Number.parseInt(word, 16), block * 4096 + 32 + at * 4),
  );
  fs.writeFileSync(file, bytes);
}

beforeEach(() => fs.rmSync(file, { force: true }));
after(() => fs.rmSync(directory, { recursive: true }));

/** Asserts that the file stays, for this reason. */
function stays(why: RegExp, record: DriveRecord): void {
  assert.match(deleteDriveFile(directory, record) ?? '', why);
  assert.ok(fs.existsSync(file));
}

test('a drive that Holdfast made is deleted, known by any of its superblocks', () => {
  for (const block of [0, 1, BLOCKS - 2, BLOCKS - 1]) {
    write(block);
    assert.equal(deleteDriveFile(directory, drive), undefined);
    assert.ok(!fs.existsSync(file));
  }
  assert.equal(deleteDriveFile(directory, drive), undefined, 'what is gone is deleted');
});

test('a drive that another process has open stays', () => {
  write(1);
  const fd = fs.openSync(file, 'r+');
  assert.equal(openLibc().lockExclusive(fd), 0);
  stays(/another process has it open/, drive);
  fs.closeSync(fd);
});

test('a file of another, a link, and another drive stay', () => {
  write(1);
  stays(/did not make it/, { ...drive, made: false });
  stays(/are a copy/, { ...drive, madeBy: 1 });
  stays(/taken its place/, { ...drive, id: drive.id.replace('0', 'f') });
  fs.renameSync(file, `${file}.far`);
  fs.symlinkSync(`${file}.far`, file);
  stays(/it is no file/, drive);
});

test('zeros are a drive only while it is formatted', () => {
  fs.writeFileSync(file, Buffer.alloc(BLOCKS * 4096));
  stays(/taken its place/, drive);
  assert.equal(deleteDriveFile(directory, { ...drive, state: 'adding' }), undefined);
  assert.ok(!fs.existsSync(file));
});
