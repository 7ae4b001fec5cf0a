/**
 * Makes replicas outside S equal that are to take the places of members that are gone, where S without those would be too small
 * (docs/replication.md, "Replace"). I/O stands still meanwhile, so nothing needs a hold.
 */

import type { Head } from './head.ts';
import type { Member } from './member.ts';
import { EXTENT_BYTES, SURVEY_EXTENTS, type SurveyEntry } from './messages.ts';
import { epochOf, missedExtents } from './missed-extents.ts';

export type FillPlan = {
  /** Seats of intact members, at least one: the first that can read an extent is right. */
  readonly sources: readonly number[];
  /** All members of S that are reached: with them the others are flushed (F9). */
  readonly reached: number;
  readonly targets: readonly Member[];
};

/** Ends in 0: whatever the first source has, the targets have, durably. Else in the first failure. */
export function fill(head: Head, plan: FillPlan, onDone: (errno: number) => void): void {
  const { path, copier, changer } = head;
  const { sources, targets } = plan;
  const { sizeBytes, lineage } = changer.known;
  const seats = targets.reduce((all, { seat }) => all | seat, 0);
  const end = Math.ceil(sizeBytes / EXTENT_BYTES);
  const survey = (firstExtent: number): void => {
    if (firstExtent >= end) {
      path.ask({ kind: 'flush', seats: seats | plan.reached, onDone });
      return;
    }
    const surveys = new Map<number, readonly SurveyEntry[]>();
    path.ask({
      kind: 'survey',
      seats: seats | sources[0]!,
      number: firstExtent,
      onAnswer: (member, answer) => surveys.set(member.seat, answer.survey),
      onDone: (errno) => {
        if (errno === 0) copy(firstExtent, surveys);
        else onDone(errno);
      },
    });
  };
  const copy = (firstExtent: number, surveys: Map<number, readonly SurveyEntry[]>): void => {
    const ours = surveys.get(sources[0]!) ?? [];
    const missed = new Set<number>();
    for (const { seat, base } of targets) {
      const theirs = surveys.get(seat) ?? [];
      for (const extent of missedExtents(ours, theirs, epochOf(base, lineage))) {
        if (extent < end) missed.add(extent);
      }
    }
    copier.equalise([...missed], { sources, seats, sizeBytes }, (errno) => {
      if (errno === 0) survey(firstExtent + SURVEY_EXTENTS);
      else onDone(errno);
    });
  };
  survey(0);
}
