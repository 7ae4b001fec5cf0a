/** What a replica that was outside S may lack, or have too much (docs/replication.md, "Rebuild"; F3, F5 d). */

import type { SurveyEntry } from './messages.ts';
import type { Base } from './record.ts';

/** Up to which epoch of this lineage a replica holds everything; undefined: its history is another one, or unknown. */
export function epochOf(base: Base | undefined, lineage: number): number | undefined {
  return base?.lineage === lineage ? base.epoch : undefined;
}

/** Of the extents that were surveyed on a member and on the other replica, those in which they may differ, in order. `epoch`: of {@link epochOf}. */
export function missedExtents(
  ours: readonly SurveyEntry[],
  theirs: readonly SurveyEntry[],
  epoch: number | undefined,
): number[] {
  const byExtent = new Map(theirs.map((entry) => [entry.extent, entry]));
  const missed = new Set<number>();
  for (const entry of ours) {
    const their = byExtent.get(entry.extent);
    if (epoch === undefined || entry.stamp > epoch || their?.dataMask !== entry.dataMask) {
      missed.add(entry.extent);
    }
  }
  const known = new Set(ours.map((entry) => entry.extent));
  for (const entry of theirs) {
    // What is marked there has the epoch of its session, which is after its base.
    const isSuspect = epoch === undefined || entry.stamp > epoch;
    if (isSuspect || !known.has(entry.extent)) missed.add(entry.extent);
  }
  return [...missed].toSorted((a, b) => a - b);
}
