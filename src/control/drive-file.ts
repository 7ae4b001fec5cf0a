/**
 * Deletes the file of a drive that Holdfast made. An installation may have been copied, or the file replaced: then what lies at the path
 * of the record is another's, with volumes on it.
 */

import fs from 'node:fs';
import path from 'node:path';

import { openLibc } from '../env/node/libc.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { driveUuidIn } from '../model/drive-mark.ts';
import { errnoInWords } from '../model/errno.ts';
import type { DriveRecord } from '../model/records.ts';

/** What a record keeps of the installation in `directory` that makes a file. */
export function recordsInode(directory: string): number | undefined {
  const inode = (name: string): number | undefined =>
    fs.statSync(path.join(directory, name), { throwIfNoEntry: false })?.ino;
  return inode('store.json') ?? inode('state.db');
}

/** Why the file of `drive` is not for the installation in `directory` to delete; undefined where it may be. */
export function foreignWhy(directory: string, drive: DriveRecord): string | undefined {
  if (!drive.made) return 'Holdfast did not make it';
  // What Holdfast makes is a file: a link or a device of that name is somebody's who came later.
  const stats = fs.lstatSync(drive.path, { throwIfNoEntry: false });
  if (stats?.isFile() === false) return 'it is no file, as Holdfast makes them';
  if (drive.madeBy !== undefined && drive.madeBy !== recordsInode(directory))
    return 'the records of this installation are a copy, and the drive may be that of the original';
  return undefined;
}

/** Deletes the file of `drive`, if it is there. Returns why it is left, where it is not this installation's or is in use. */
export function deleteDriveFile(directory: string, drive: DriveRecord): string | undefined {
  const why = foreignWhy(directory, drive);
  if (why !== undefined) return why;
  let fd: number;
  try {
    fd = fs.openSync(drive.path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
  } catch (error) {
    const { code, errno = 0 } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? undefined : `it cannot be opened: ${errnoInWords(-errno)}`;
  }
  try {
    if (openLibc().lockExclusive(fd) !== 0) return 'another process has it open';
    if (!isDrive(fd, drive)) return 'another drive or file has taken its place';
    fs.unlinkSync(drive.path);
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

/** Whether one of its superblocks bears the drive's id; while a drive is formatted they are zeros. */
function isDrive(fd: number, { id, state }: DriveRecord): boolean {
  const blocks = Math.floor(fs.fstatSync(fd).size / BLOCK_BYTES);
  const superblocks = [0, 1, blocks - 2, blocks - 1].map((block) => readBlock(fd, block));
  if (superblocks.some((block) => driveUuidIn(block) === id.replaceAll('-', ''))) return true;
  return state === 'adding' && superblocks.every((block) => block.every((byte) => byte === 0));
}

function readBlock(fd: number, block: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const count = block < 0 ? 0 : fs.readSync(fd, bytes, 0, BLOCK_BYTES, block * BLOCK_BYTES);
  return bytes.subarray(0, count);
}
