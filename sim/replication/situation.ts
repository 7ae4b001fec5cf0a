/** What a volume is in the middle of when something fails. */

import type { Cluster } from './cluster.ts';

/** Each with each fault, in the long run. */
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

export type Situation = (typeof SITUATIONS)[number];

export function situationOf({ engines, options }: Cluster): Situation {
  const head = engines.findLast((engine) => engine.head !== undefined)?.head;
  if (head === undefined) return 'no head';
  const { known, pending } = head.changer;
  switch (head.state) {
    case 'serving':
      break;
    case 'claiming':
    case 'opening':
    case 'detaching':
      return head.state;
    default:
      return 'no head';
  }
  if (pending !== undefined) {
    return pending.members.size > known.members.size ? 'joining' : 'shrinking';
  }
  if (head.stalled !== undefined) return 'stalled';
  if (!head.isRecorded) return 'recording';
  if (head.rebuilding.length > 0) return 'rebuilding';
  return known.members.size < options.replicaCount ? 'degraded' : 'whole';
}
