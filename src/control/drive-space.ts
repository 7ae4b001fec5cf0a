/** Where a drive may be: whether there is room for its file, and nothing of ours below it. */

import fs from 'node:fs';
import path from 'node:path';

import { volumeUnder } from '../attacher/stacked-devices.ts';
import { Refusal } from '../model/errors.ts';
import { formatSize } from '../model/sizes.ts';
import { KEEP_FREE_BYTES } from './drive-growth.ts';
import type { DriveWish } from './drives.ts';
import type { ControlParts } from './parts.ts';

/** Sizes that are suggested are round, and large enough for a drive. */
const SUGGESTED_STEP_BYTES = 256 * 1024 * 1024;

/** Refuses before anything is made where the file system has too little room. */
export function checkSpace(at: string, wish: DriveWish): void {
  if (wish.sizeBytes === undefined) {
    throw new Refusal('SIZE_INVALID', {
      size: '',
      problem: `"${at}" is a new file and needs one (--size)`,
    });
  }
  const directory = path.dirname(at);
  if (!fs.existsSync(directory)) {
    throw new Refusal('PATH_INVALID', { path: at, problem: 'its directory is not there' });
  }
  const { bavail, bsize } = fs.statfsSync(directory);
  const free = bavail * bsize;
  const ownBytes = wish.sparse ? 0 : wish.sizeBytes;
  if (ownBytes + KEEP_FREE_BYTES <= free) return;
  const keeps = `${formatSize(KEEP_FREE_BYTES)} that stays free for the host`;
  throw new Refusal('SPACE_SHORT', {
    path: at,
    needed: ownBytes === 0 ? keeps : `${formatSize(ownBytes)}, and ${keeps}`,
    free: formatSize(free),
    alternatives: alternatives(wish, free - KEEP_FREE_BYTES),
  });
}

/** Refuses what lies on a volume: the engine could not even be killed while its own I/O waits for it. */
export async function refuseVolumePath({ records, node }: ControlParts, at: string): Promise<void> {
  const own = (await records.volumes()).flatMap(({ attachment }) =>
    attachment?.device !== undefined && attachment.node === node ? [attachment.device] : [],
  );
  const device = volumeUnder(at, own);
  if (device !== undefined) throw new Refusal('DRIVE_ON_VOLUME', { path: at, device });
}

/** What would fit into `roomBytes`, as the end of a sentence. */
function alternatives(wish: DriveWish, roomBytes: number): string {
  if (wish.sparse || roomBytes < 0) return '';
  const fits = Math.floor(roomBytes / SUGGESTED_STEP_BYTES) * SUGGESTED_STEP_BYTES;
  const sparse = ' or one that grows as it fills (--sparse)';
  if (fits === 0) return ', or make a drive that grows as it fills (--sparse)';
  // Rounded down always, as formatSize would not.
  const size = fits < 1024 ** 3 ? `${fits / 1024 ** 2}MiB` : `${Math.floor(fits / 1024 ** 3)}GiB`;
  return `, make a smaller drive (${size} fits: --drive-size with up, --size with drive add)${sparse}`;
}
