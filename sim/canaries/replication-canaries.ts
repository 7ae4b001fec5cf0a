/**
 * The canaries of replication: those of ../shared/replication-traps.md, section 3, that the protocol has a place for, and faults that
 * the simulator found in its first versions.
 */

import type { Canary } from './canary.ts';
import { CARE_FLAWS } from './care-flaws.ts';
import { patch } from './flaw.ts';
import { SESSION_FLAWS } from './session-flaws.ts';
import { TAKEOVER_FLAWS } from './takeover-flaws.ts';

export const REPLICATION_CANARIES: readonly Canary[] = [
  ...[...TAKEOVER_FLAWS, ...SESSION_FLAWS, ...CARE_FLAWS].map((flaw, index): Canary => ({
    number: 101 + index,
    focus: 'replication',
    ...flaw,
  })),
  {
    number: 199,
    name: 'a head that starts again makes nothing equal',
    focus: 'small scope',
    patches: [patch('opening.ts', 'this.#equalise([...extents])', 'this.#equalise([])')],
  },
];
