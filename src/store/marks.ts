/**
 * Open marks: what of a replicated volume some other replica may not hold durably (docs/replication.md, "State"). They are in memory
 * and in the log: in the frame of their change, and again behind the tail of each checkpoint.
 *
 * Their number is bounded, since a checkpoint logs all of them. At the bound the volume that has the most gets coarser ones: sixteen
 * neighbours become one, which goes when the last of their changes is durable everywhere. Nobody waits and nothing fails; more is
 * compared when the replicas are made equal.
 */

import { assert } from '../lib/assert.ts';
import { MARK_WORDS, FRAME_RECORD_WORDS_MAX } from './frame-format.ts';

export type Mark = {
  /** Blocks of its extents that changed. */
  mask: number;
  /** Of its newest change. */
  epoch: number;
  number: number;
};

/** What a coarse mark has become: log2 of the extents of one, in steps of 4. */
const GRAIN_STEP = 4;
const MARKS_PER_BLOCK = Math.floor(FRAME_RECORD_WORDS_MAX / MARK_WORDS);
/** Blocks of the ring that a checkpoint's marks may take: 1/32 of it. */
const RING_SHARE = 32;
const BLOCKS_MIN = 8;
/** Frames that a recovery may log beside the marks: empty ones that say what is durable. */
const BLOCKS_BESIDE = 4;

/** Blocks of the ring that the marks of one checkpoint take at most. */
export function markBlocks(logBlocks: number): number {
  return Math.max(BLOCKS_MIN, Math.floor(logBlocks / RING_SHARE));
}

/** How many marks a log of `logBlocks` has room for: 86,000 in 64 MiB. */
export function marksMax(logBlocks: number): number {
  return (markBlocks(logBlocks) - BLOCKS_BESIDE) * MARKS_PER_BLOCK;
}

/** The marks of one volume. */
export class Marks {
  /** By the first extent that each is of. */
  readonly byExtent: Map<number, Mark> = new Map();
  /** log2 of the extents of one mark. */
  grain = 0;
  /** Marks up to here went, and the log may not say so yet: see DURABLE. */
  dropEpoch = 0;
  dropNumber = 0;
  isDropBehind = false;

  /** Calls `visit` for each marked extent in [from, to), in no order. */
  forEach(from: number, to: number, visit: (extent: number, mark: Mark) => void): void {
    const size = 2 ** this.grain;
    for (const [first, mark] of this.byExtent) {
      const end = Math.min(to, first + size);
      for (let extent = Math.max(from, first); extent < end; extent++) visit(extent, mark);
    }
  }
}

/** The marks of a drive's volumes. */
export class MarkBook {
  readonly #max: number;
  readonly #volumes = new Set<Marks>();
  #count = 0;

  /** `max`: more than there are volumes. */
  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#count;
  }

  /** Begins the marks of a volume. */
  open(): Marks {
    const marks = new Marks();
    this.#volumes.add(marks);
    return marks;
  }

  /** The volume is gone. */
  close(marks: Marks): void {
    this.#count -= marks.byExtent.size;
    marks.byExtent.clear();
    this.#volumes.delete(marks);
  }

  /** Marks blocks of 2^grain extents from `extent` on: together with what is marked of them. */
  add(marks: Marks, extent: number, mark: Mark, grain = 0): void {
    while (marks.grain < grain) this.#coarsen(marks);
    this.#enter(marks, firstOf(extent, marks.grain), mark);
    while (this.#count > this.#max) this.#coarsen(this.#largest());
  }

  #enter(marks: Marks, first: number, { mask, epoch, number }: Mark): void {
    const known = marks.byExtent.get(first);
    if (known === undefined) {
      marks.byExtent.set(first, { mask, epoch, number });
      this.#count++;
      return;
    }
    // Changes of one extent take effect in any order: the newest of them decides when the mark goes.
    known.mask |= mask;
    known.epoch = Math.max(known.epoch, epoch);
    known.number = Math.max(known.number, number);
  }

  /** Changes of epochs below `epoch`, and those numbered below `number`, are durable on every replica. */
  drop(marks: Marks, epoch: number, number: number): void {
    for (const [first, mark] of marks.byExtent) {
      if (mark.epoch >= epoch && mark.number >= number) continue;
      marks.byExtent.delete(first);
      this.#count--;
    }
    if (marks.byExtent.size === 0) marks.grain = 0;
  }

  #coarsen(marks: Marks): void {
    const fine = [...marks.byExtent];
    this.#count -= fine.length;
    marks.byExtent.clear();
    marks.grain += GRAIN_STEP;
    for (const [first, mark] of fine) this.#enter(marks, firstOf(first, marks.grain), mark);
  }

  #largest(): Marks {
    let largest: Marks | undefined;
    for (const marks of this.#volumes) {
      if (marks.byExtent.size > (largest?.byExtent.size ?? 1)) largest = marks;
    }
    assert(largest !== undefined, 'there is room for a mark of each volume');
    return largest;
  }
}

function firstOf(extent: number, grain: number): number {
  return grain === 0 ? extent : extent - (extent % 2 ** grain);
}
