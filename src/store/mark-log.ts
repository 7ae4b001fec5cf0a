/** Marks on their way to the log: each with its change, and all that are open with each checkpoint. */

import type { DriveState } from './drive-state.ts';
import { DURABLE, DURABLE_WORDS, MARK, MARK_WORDS } from './frame-format.ts';
import type { Mark, Marks } from './marks.ts';
import type { Piece } from './piece.ts';
import { setU64 } from './superblock.ts';
import type { Volume } from './volume.ts';

/** Words that the marks of one change take at most. */
export const CHANGE_MARK_WORDS: number = MARK_WORDS + DURABLE_WORDS;

/** Marks what a piece changes, in the open frame, which holds the change and was reserved for both. */
export function logMark(drive: DriveState, volume: Volume, piece: Piece): void {
  const { marks } = volume;
  if (marks === undefined) return;
  const { extent, mask, request } = piece;
  if (request === undefined || request.number === 0) return;
  if (marks.isDropBehind) logDrop(drive, volume, marks);
  const mark = { mask, epoch: request.epoch, number: request.number };
  append(drive, { volume, extent, mark, grain: 0, isChange: true });
  drive.marks.add(marks, extent, mark);
}

function logDrop({ log, media }: DriveState, volume: Volume, marks: Marks): void {
  const at = log.appendRecord(DURABLE_WORDS);
  const { words } = media;
  words[at] = DURABLE;
  words[at + 1] = volume.number;
  words[at + 2] = marks.dropEpoch;
  setU64(words, at + 3, marks.dropNumber);
  marks.isDropBehind = false;
}

function append(
  { log, media }: DriveState,
  record: {
    readonly volume: Volume;
    readonly extent: number;
    readonly mark: Mark;
    readonly grain: number;
    readonly isChange: boolean;
  },
): void {
  const { volume, extent, mark, grain, isChange } = record;
  const at = log.appendRecord(MARK_WORDS, isChange);
  const { words } = media;
  words[at] = (MARK | (mark.mask << 8) | (grain << 24)) >>> 0;
  words[at + 1] = volume.number;
  words[at + 2] = extent;
  words[at + 3] = mark.epoch;
  setU64(words, at + 4, mark.number);
}

/**
 * Logs all open marks of `volumes` behind the tail of a checkpoint; resolves with the LSN of the last frame with some of them, once
 * all are sent; 0: there are none. What is marked or dropped meanwhile is in frames of its own, or of marks that are left over.
 */
export async function logMarksAgain(
  drive: DriveState,
  volumes: Iterable<Volume>,
  nextTurn: () => Promise<void>,
): Promise<number> {
  const { log } = drive;
  let lsn = 0;
  for (const volume of volumes) {
    const { marks } = volume;
    if (marks === undefined) continue;
    const { grain } = marks;
    // As they are now: coarser ones may take their place meanwhile.
    const open = Array.from(marks.byExtent);
    for (const [extent, mark] of open) {
      while (!log.reserveMarks(MARK_WORDS)) await nextTurn();
      append(drive, { volume, extent, mark, grain, isChange: false });
      lsn = log.openLsn;
    }
  }
  while (lsn > 0 && !log.seal()) await nextTurn();
  return lsn;
}
