/** What an operator decides for a whole installation. */

import { Refusal } from './errors.ts';

export type Settings = {
  /** How long a removed volume stays in the trash, in ms; 0: it is removed at once. */
  readonly trashRetentionMs: number;
  /** The sizes of a drive's volumes together, in percent of the drive's; null: no limit. */
  readonly overprovisionPercent: number | null;
  /** Fill levels of a drive that are told as events, in percent, ascending. */
  readonly driveAlertPercents: readonly number[];
};

export const DEFAULT_SETTINGS: Settings = {
  trashRetentionMs: 24 * 3_600_000,
  overprovisionPercent: 1000,
  driveAlertPercents: [80, 90, 95],
};

/** Throws INPUT_INVALID where alert levels do not ascend: the schema of the API has their ranges. */
export function checkSettings({ driveAlertPercents: levels = [] }: Partial<Settings>): void {
  const ascends = levels.every((level, index) => index === 0 || level > (levels[index - 1] ?? 0));
  if (!ascends) {
    throw new Refusal('INPUT_INVALID', {
      problem: `drive alerts ascend, and ${levels.join(', ')} do not`,
    });
  }
}
