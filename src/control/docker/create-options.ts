/** What `docker volume create -o` may say of a volume. */

import { Refusal } from '../../model/errors.ts';
import type { Labels, Owner } from '../../model/records.ts';
import { parseSize } from '../../model/sizes.ts';
import { isFsType } from '../file-systems.ts';
import { similar } from '../names.ts';

export type CreateOptions = {
  readonly sizeBytes: number | undefined;
  readonly fsType: 'ext4' | 'xfs' | undefined;
  readonly drive: string | undefined;
  readonly owner: Owner | undefined;
  readonly labels: Labels | undefined;
};

const NAMES = ['size', 'fs', 'drive', 'tenant', 'group', 'label.KEY'];
const LABEL = 'label.';

/** Reads them. Throws PLUGIN_OPTION or SIZE_INVALID. */
export function parseCreateOptions(options: Readonly<Record<string, string>>): CreateOptions {
  const labels: [key: string, value: string][] = [];
  for (const [option, value] of Object.entries(options)) {
    if (option.startsWith(LABEL)) labels.push([option.slice(LABEL.length), value]);
    else if (!NAMES.includes(option))
      throw invalid(option, `there is none${similar(option, NAMES)}`);
    else if (value === '') throw invalid(option, 'it is empty');
  }
  const { size, fs, drive, tenant, group } = options;
  if (fs !== undefined && !isFsType(fs)) throw invalid('fs', `"${fs}" is neither ext4 nor xfs`);
  const hasOwner = tenant !== undefined || group !== undefined;
  return {
    sizeBytes: size === undefined ? undefined : parseSize(size),
    fsType: fs,
    drive,
    owner: hasOwner ? { tenant, group } : undefined,
    // Not by assignment, which takes "__proto__" for something else than a key.
    labels: labels.length > 0 ? Object.fromEntries(labels) : undefined,
  };
}

function invalid(option: string, problem: string): Refusal {
  return new Refusal('PLUGIN_OPTION', { option: option.slice(0, 80), problem });
}
