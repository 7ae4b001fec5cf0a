/** Growth of a drive: its file becomes larger, a block device must be so already. */

import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../model/errors.ts';
import type { DriveRecord } from '../model/records.ts';
import { formatSize, formatSizeExact } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { isPassing } from './operations.ts';
import type { ControlParts } from './parts.ts';
import type { Kept } from './records-store.ts';

/** Left free on the file system that a file drive is on. */
export const KEEP_FREE_BYTES: number = 1024 ** 3;
/** Writing 1 TiB at 500 MB/s takes 35 minutes; the engine may be away in between. */
export const FORMAT_WAIT_MS = 60_000;
/** Reserving the space of a large file is one call of the kernel, without progress. */
export const FORMAT_SILENCE_MS = 600_000;

/**
 * Throws DRIVE_NOT_READY or DRIVE_NOT_GROWN where a drive cannot have this size, and changes nothing. `status` is the engine's. Returns
 * whether it has to grow at all.
 */
export function needsGrowth(
  record: DriveRecord,
  status: JsonObject | undefined,
  wantedBytes: number,
): boolean {
  const { name: drive, path: at, sparse } = record;
  if (record.state !== 'ready' || status?.['state'] !== 'open') {
    const state = record.state === 'ready' ? String(status?.['state'] ?? 'not open') : record.state;
    throw new Refusal('DRIVE_NOT_READY', { drive, state });
  }
  const sizeBytes = Number(status['sizeBytes']);
  if (wantedBytes === sizeBytes) return false;
  const refuse = (problem: string): never => {
    throw new Refusal('DRIVE_NOT_GROWN', { drive, wanted: formatSizeExact(wantedBytes), problem });
  };
  if (wantedBytes < sizeBytes) refuse(`it has ${formatSizeExact(sizeBytes)}, and does not shrink`);
  const stats = fs.statSync(at, { throwIfNoEntry: false });
  if (stats === undefined) return refuse(`"${at}" is not there`);
  if (stats.isBlockDevice()) {
    if (!isAsLarge(at, wantedBytes)) refuse(`"${at}" is smaller: it must grow before`);
    return true;
  }
  const { bavail, bsize } = fs.statfsSync(path.dirname(at));
  const roomBytes = bavail * bsize - KEEP_FREE_BYTES;
  const addedBytes = sparse ? 0 : wantedBytes - sizeBytes;
  if (addedBytes > roomBytes) {
    const room = formatSize(Math.max(0, roomBytes));
    refuse(
      `its file may take ${room} more, which leaves ${formatSize(KEEP_FREE_BYTES)} free for the host`,
    );
  }
  return true;
}

function isAsLarge(device: string, sizeBytes: number): boolean {
  const fd = fs.openSync(device, 'r');
  try {
    return fs.readSync(fd, Buffer.alloc(1), 0, 1, sizeBytes - 1) === 1;
  } finally {
    fs.closeSync(fd);
  }
}

/** Drives a drive to the size that its record wants; may be called again after a crash at any point. Throws STORE_CONFLICT. */
export async function settleGrowth(
  parts: ControlParts,
  { record, version }: Kept<DriveRecord>,
): Promise<void> {
  const { engine, records, onStep, progress } = parts;
  const { id: driveId, growToBytes: sizeBytes, sparse } = record;
  const key = `drive/${record.name}`;
  const atRest = { ...record, growToBytes: undefined };
  try {
    progress.show(key, 'growing it');
    await engine.call(
      'drive.grow',
      { driveId, sizeBytes, sparse },
      {
        waitMs: FORMAT_WAIT_MS,
        silenceMs: FORMAT_SILENCE_MS,
        onProgress: ({ doneBytes: done, totalBytes: total }) =>
          progress.show(key, 'growing it', { done, total, unit: 'bytes' }),
      },
    );
  } catch (error) {
    if (!isPassing(error)) await records.putDrive(atRest, version);
    throw error;
  }
  onStep('drive.grow: grown');
  await records.putDrive({ ...atRest, sizeBytes }, version);
}
