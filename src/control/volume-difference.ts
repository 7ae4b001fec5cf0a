/** What of a volume that is there is another than somebody wants to create. */

import { isDeepStrictEqual } from 'node:util';

import type { Owner, VolumeRecord } from '../model/records.ts';
import { formatSizeExact } from '../model/sizes.ts';
import type { VolumeWish } from './volume-wish.ts';

/** In words, as the end of "there is one of that name with"; undefined: it is the same. What the wish does not name may be anything. */
export function differenceOf(record: VolumeRecord, wish: VolumeWish): string | undefined {
  const { sizeBytes, drive, fsType, owner, labels = {}, autoGrow } = record;
  if (sizeBytes !== wish.sizeBytes && wish.isSizeDefault !== true)
    return `a size of ${formatSizeExact(sizeBytes)}`;
  if (isOther(drive, wish.drive)) return `drive "${drive}"`;
  if (fsType !== undefined && isOther(fsType, wish.fsType)) return `file system ${fsType}`;
  if (wish.owner !== undefined && !isSameOwner(owner, wish.owner)) return 'another owner';
  if (isOther(labels, wish.labels)) return 'other labels';
  if (isOther(autoGrow, wish.autoGrow)) return 'another way to grow by itself';
  return undefined;
}

const isOther = (known: unknown, wanted: unknown): boolean =>
  wanted !== undefined && !isDeepStrictEqual(known, wanted);

/** Undefined and not there are one. */
const isSameOwner = (known: Owner | undefined, wanted: Owner): boolean =>
  known?.tenant === wanted.tenant && known?.group === wanted.group;
