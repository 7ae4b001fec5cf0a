/** A size that the user wrote, in bytes. */

import { describeRounding, parseSize } from '../model/sizes.ts';
import type { Output } from './output.ts';

/** What `up` makes its first drive, unless told otherwise. */
export const FIRST_DRIVE_SIZE = '10GiB';

/** Reads a size for a request, and tells people where it is not what they wrote. Programs see the size in the answer. */
export function readSize(output: Output, text: string): number {
  const rounding = describeRounding(text);
  if (rounding !== undefined) output.note(`Size: ${rounding}`);
  return parseSize(text);
}
