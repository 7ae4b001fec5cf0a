/** What histories must reach, or they prove less than they seem to. */

import type { HeadEnd, HeadEvent } from '../../src/replication/head-host.ts';
import { FAULTS } from './faults.ts';

/** By type, so that one that is added later is asked for too. False: it is a violation. */
const HEAD_EVENTS: Record<HeadEvent, boolean> = {
  claimed: true,
  'member left out': true,
  'extents made equal': true,
  'lives registered': true,
  serving: true,
  'member lost': true,
  'member reconnected': true,
  'members opened anew': true,
  'rebuild begun': true,
  'rebuild given up': true,
  'member joined': true,
  'member replaced': true,
  'gone member replaced': true,
  'failed member leaves': true,
  'refusal copied to all': true,
  'copy repaired': true,
  'copies differed': false,
  'no readable copy': true,
  'scrub begun': true,
  'scrub done': true,
  stalled: true,
  'stall given up': true,
  grown: true,
  'minimum changed': true,
  'outcome unknown': true,
  'refused by a replica': true,
};
const HEAD_ENDS: Record<HeadEnd, true> = {
  overtaken: true,
  detached: true,
  'session lost': true,
  'given up': true,
};

/** Each in some hundred seeds. */
export const EVENTS: readonly string[] = [
  ...Object.entries(HEAD_EVENTS).flatMap(([event, isReached]) =>
    isReached ? [`head: ${event}`] : [],
  ),
  ...Object.keys(HEAD_ENDS).map((end) => `head ended: ${end}`),
  ...FAULTS.map(({ name }) => `fault: ${name}`),
  'unflushed lost',
  'loss accepted',
  'ghost',
  'head lost while it makes members equal',
  'answer write error',
];

/** What the volume may be in the middle of when something fails: each with each fault, in the long run. */
export const SITUATIONS = [
  'no head',
  'claiming',
  'opening',
  'whole',
  'degraded',
  'rebuilding',
  'joining',
  'shrinking',
  'recording',
  'stalled',
  'detaching',
] as const;

const OUT_OF_SERVICE: readonly string[] = ['no head', 'claiming', 'opening', 'detaching'];

/** Names what a long run did not reach: events, and pairs of a fault and a situation. */
export function unreached(counts: ReadonlyMap<string, number>): string[] {
  const pairs = FAULTS.flatMap(({ name, needsService }) =>
    SITUATIONS.filter((each) => needsService !== true || !OUT_OF_SERVICE.includes(each)).map(
      (each) => `while ${each}: ${name}`,
    ),
  );
  return [...EVENTS, ...pairs].filter((what) => !counts.has(what));
}
