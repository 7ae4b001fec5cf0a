/** What may become another of a volume that is there: its size, and what is said of it. */

import { Refusal } from '../model/errors.ts';
import { checkLabels } from '../model/labels.ts';
import { checkOwner } from '../model/owner.ts';
import type { Labels, VolumeDescription, VolumeRecord } from '../model/records.ts';
import { formatSizeExact } from '../model/sizes.ts';

/** What is undefined stays as it is. */
export type VolumeChange = Omit<VolumeDescription, 'labels'> & {
  readonly sizeBytes?: number | undefined;
  /** Those to set, and with null those to take away. The others stay. */
  readonly labels?: Readonly<Record<string, string | null>> | undefined;
};

/** The labels with those of a change (a JSON merge patch, RFC 7396). */
export function labelsWith(
  labels: Labels = {},
  change: VolumeChange['labels'],
): Labels | undefined {
  if (change === undefined) return undefined;
  const all = Object.entries({ ...labels, ...change });
  return Object.fromEntries(all.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** What a wish says anew, of a volume of `sizeBytes`; undefined: nothing. Throws LABEL_INVALID and INPUT_INVALID. */
export function descriptionIn(
  { owner, labels, autoGrow }: VolumeDescription,
  sizeBytes: number,
): VolumeDescription | undefined {
  if (owner !== undefined) checkOwner(owner);
  if (labels !== undefined) checkLabels(labels);
  if (autoGrow && autoGrow.ceilingBytes < sizeBytes) {
    const problem = `a ceiling of ${formatSizeExact(autoGrow.ceilingBytes)} is below its size of ${formatSizeExact(sizeBytes)}`;
    throw new Refusal('INPUT_INVALID', { problem });
  }
  const isSilent = owner === undefined && labels === undefined && autoGrow === undefined;
  return isSilent ? undefined : { owner, labels, autoGrow };
}

/** The volume with what is said of it anew. */
export function described(
  volume: VolumeRecord,
  { owner, labels, autoGrow }: VolumeDescription = {},
): VolumeRecord {
  return {
    ...volume,
    ...(owner === undefined ? {} : { owner }),
    ...(labels === undefined ? {} : { labels }),
    ...(autoGrow === undefined ? {} : { autoGrow: autoGrow ?? undefined }),
  };
}
