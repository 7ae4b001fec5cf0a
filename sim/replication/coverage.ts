/** What histories must reach, or they prove less than they seem to. */

import type { HeadEnd, HeadEvent } from '../../src/replication/head-host.ts';
import { FAULTS } from './faults.ts';
import { PROMPTED } from './prompted.ts';
import type { SeedsResult } from './run-seeds.ts';
import { SITUATIONS, type Situation } from './situation.ts';

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
  ...PROMPTED.map(({ name }) => `fault: ${name}`),
  'answer write error',
];

const OUT_OF_SERVICE: readonly Situation[] = ['no head', 'claiming', 'opening', 'detaching'];

/** What a long run did not reach: each event once in so many seeds, each fault in each situation at all. */
const SEEDS_PER_EVENT = 100;

/** Names what was reached too seldom in `seeds` seeds. */
export function unreached(counts: ReadonlyMap<string, number>, seeds: number): string[] {
  const least = Math.max(1, Math.floor(seeds / SEEDS_PER_EVENT));
  const rare = EVENTS.filter((event) => (counts.get(event) ?? 0) < least);
  const pairs = FAULTS.flatMap(({ name, needs }) =>
    SITUATIONS.filter((each) => needs !== 'service' || !OUT_OF_SERVICE.includes(each)).map(
      (each) => `while ${each}: ${name}`,
    ),
  );
  return [...rare, ...pairs.filter((pair) => !counts.has(pair))];
}

/** Everything that some seeds reached, as lines: how often what happened, and each fault in each situation. */
export function reportOf(results: readonly SeedsResult[]): string[] {
  const totals = totalsOf(results);
  const happened = [...totals]
    .filter(([what]) => !what.startsWith('while '))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, times]) => `${String(times).padStart(10)}  ${what}`);
  const failures = results.flatMap((each) => each.failures);
  const medians = results.map((each) => each.medianMs).toSorted((a, b) => a - b);
  const median = medians[Math.floor(medians.length / 2)] ?? 0;
  const seeds = results.reduce((sum, each) => sum + each.count, 0);
  return [
    ...happened,
    '',
    ...pairsOf(totals),
    '',
    ...failures.map(({ seed, message }) => `SEED ${seed} FAILED\n  ${message}`),
    `${seeds} seeds, ${failures.length} failed, median ${median.toFixed(1)} ms`,
  ];
}

export function totalsOf(results: readonly SeedsResult[]): ReadonlyMap<string, number> {
  const totals = new Map<string, number>();
  for (const { counts } of results) {
    for (const [what, times] of counts) totals.set(what, (totals.get(what) ?? 0) + times);
  }
  return totals;
}

/** A line for each fault, a column for each situation. */
function pairsOf(totals: ReadonlyMap<string, number>): string[] {
  const column = (text: string | number): string => String(text).padStart(11);
  return [
    `${SITUATIONS.map(column).join('')}  fault while`,
    ...[...FAULTS, ...PROMPTED].map(({ name }) => {
      const times = SITUATIONS.map((each) => totals.get(`while ${each}: ${name}`) ?? 0);
      return `${times.map(column).join('')}  ${name}`;
    }),
  ];
}
