/** Owners: tenant and group, in the words of the platform that a volume was made for. */

import { Refusal } from './errors.ts';
import type { Owner } from './records.ts';

const LENGTH_MAX = 255;

/** Throws INPUT_INVALID. */
export function checkOwner({ tenant, group }: Owner): void {
  for (const [name, value] of Object.entries({ tenant, group })) {
    if (value === undefined) continue;
    if (value !== '' && value.length <= LENGTH_MAX && !/\p{Cc}/u.test(value)) continue;
    const problem = `a ${name} has 1 to ${LENGTH_MAX} characters, and no control characters`;
    throw new Refusal('INPUT_INVALID', { problem });
  }
}
