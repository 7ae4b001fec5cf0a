/** All canaries, in the order of drive-store.md, section 5. */

import type { Canary } from './canary.ts';
import { ORDER_CANARIES } from './order-canaries.ts';
import { RECOVERY_CANARIES } from './recovery-canaries.ts';

export const CANARIES: readonly Canary[] = [...ORDER_CANARIES, ...RECOVERY_CANARIES].toSorted(
  (a, b) => a.number - b.number,
);
