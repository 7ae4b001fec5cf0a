/** All canaries, in the order of drive-store.md, section 5. */

import type { Canary } from './canary.ts';
import { ORDER_CANARIES } from './order-canaries.ts';
import { RECOVERY_CANARIES } from './recovery-canaries.ts';
import { REPLICA_CANARIES } from './replica-canaries.ts';

export const CANARIES: readonly Canary[] = [
  ...ORDER_CANARIES,
  ...RECOVERY_CANARIES,
  ...REPLICA_CANARIES,
].toSorted((a, b) => a.number - b.number);
