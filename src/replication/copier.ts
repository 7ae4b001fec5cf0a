/**
 * Makes extents equal: asks for digests, and gives the content of one replica to those that differ or cannot be read, as a change that
 * leaves marks like any other. Whoever calls it holds the range, so that no other change comes in between (F17).
 */

import { ECONNRESET, EIO } from '../model/errno.ts';
import type { Head } from './head.ts';
import { type Member, seatsIn } from './member.ts';
import { type Digest, EXTENT_BYTES, type SurveyEntry } from './messages.ts';
import { readFrom } from './read-apart.ts';

/** Extents under way at once: also the buffers that it needs. */
export const COPIES_MAX = 8;

export type CopyBuffers = {
  /** Calls `use` with the address of an extent's worth of memory, aligned to blocks: now, or once there is one. */
  borrow(use: (address: number) => void): void;
  giveBack(address: number): void;
  /** A request that used it was cut off: something may still write there until all sessions are made anew. */
  abandon(address: number): void;
};

export type CopyPlan = {
  /** Seats of the replicas that may be right, at least one: the first of them that can be read is, and those before it are made equal to it too. */
  readonly sources: readonly number[];
  /** Those that are made equal to it. */
  readonly seats: number;
  readonly sizeBytes: number;
  /** None of `seats` had data in it: it is copied without a comparison, for which it would be read once more. */
  readonly isNew?: boolean;
  /** Only this much is held, and made equal, whatever the digests say of the rest. */
  readonly only?: { readonly offsetBytes: number; readonly lengthBytes: number };
  /** The copy in `seat` can be read, and is another: called before it is made equal. */
  readonly onDifferent?: (seat: number, extent: number) => void;
};

/** What is copied: as one replica has it, or put together from several. */
type Right = Pick<Digest, 'dataMask' | 'stamp'> & { readonly from: readonly number[] };

export class Copier {
  readonly #head: Head;
  /** Extents that no source could read all of, when it was tried last. */
  readonly unreadable = new Set<number>();
  /** Copies of extents that could not be read, and were written anew. */
  repairedCount = 0;

  constructor(head: Head) {
    this.#head = head;
  }

  /** Ends in `onDone(errno)`: 0, or that of the first failure, when nothing of it is under way any more. */
  equalise(extents: readonly number[], plan: CopyPlan, onDone: (errno: number) => void): void {
    if (plan.seats === 0) {
      onDone(0);
      return;
    }
    let next = 0;
    let underWay = 0;
    let failure = 0;
    const advance = (): void => {
      while (failure === 0 && next < extents.length && underWay < COPIES_MAX) {
        const extent = extents[next++]!;
        underWay++;
        const onOver = (errno: number): void => {
          underWay--;
          if (failure === 0) failure = errno;
          advance();
        };
        if (plan.isNew === true) this.#fill(extent, plan, onOver);
        else this.#equaliseOne(extent, { plan, at: 0 }, onOver);
      }
      if (underWay === 0 && (failure !== 0 || next === extents.length)) {
        underWay = -1;
        onDone(failure);
      }
    };
    advance();
  }

  /**
   * One extent, under a hold of its range, as far as `sizeBytes` reaches. Who is right is asked for once it is held; without a source it
   * ends in ECONNRESET.
   */
  equaliseHeld(
    extent: number,
    {
      sizeBytes,
      plan,
    }: { readonly sizeBytes: number; readonly plan: () => Omit<CopyPlan, 'sizeBytes'> },
    onDone: (errno: number) => void,
  ): void {
    const offsetBytes = extent * EXTENT_BYTES;
    const range = { offsetBytes, lengthBytes: Math.min(EXTENT_BYTES, sizeBytes - offsetBytes) };
    const { path } = this.#head;
    let hold = -1;
    let isOver = false;
    const end = (errno: number): void => {
      isOver = true;
      if (hold >= 0) path.letGo(hold);
      onDone(errno);
    };
    hold = path.hold(range, (errno) => {
      const planned = plan();
      if (errno !== 0 || planned.sources.length === 0) end(errno === 0 ? ECONNRESET : errno);
      else this.equalise([extent], { ...planned, sizeBytes }, end);
    });
    // It may have been over before its id was known.
    if (isOver) path.letGo(hold);
  }

  /** As the first source has it. Where that has nothing, or cannot read it, it is a comparison all the same. */
  #fill(extent: number, plan: CopyPlan, onDone: (errno: number) => void): void {
    const source = plan.sources[0]!;
    const compare = (): void => this.#equaliseOne(extent, { plan, at: 0 }, onDone);
    this.#surveyOne(extent, source, (errno, found) => {
      if (errno !== 0) onDone(errno);
      else if (found === undefined) compare();
      else {
        const right = { dataMask: found.dataMask, stamp: found.stamp, from: [source] };
        const end = (failure: number): void => (failure === EIO ? compare() : onDone(failure));
        this.#copy(extent, plan, { right, onDone: end });
      }
    });
  }

  /** What the replica in `seat` has of an extent; undefined: nothing. */
  #surveyOne(
    extent: number,
    seat: number,
    onDone: (errno: number, found: SurveyEntry | undefined) => void,
  ): void {
    let found: SurveyEntry | undefined;
    this.#head.path.ask({
      kind: 'survey',
      seats: seat,
      number: extent,
      lengthBytes: EXTENT_BYTES,
      onAnswer: (_member, { survey }) => {
        found = survey.find((entry) => entry.extent === extent);
      },
      onDone: (errno) => onDone(errno, found),
    });
  }

  /** `at`: which of the sources is asked. */
  #equaliseOne(
    extent: number,
    { plan, at }: { readonly plan: CopyPlan; readonly at: number },
    onDone: (errno: number) => void,
  ): void {
    const { sources, seats, only, onDifferent } = plan;
    const source = sources[at]!;
    const digests = new Map<number, Digest>();
    this.#head.path.ask({
      kind: 'digest',
      seats: seats | source,
      number: extent,
      onAnswer: (member: Member, { digest }) => {
        if (digest !== undefined) digests.set(member.seat, digest);
      },
      onDone: (errno) => {
        if (errno === ECONNRESET) {
          onDone(errno);
          return;
        }
        const right = digests.get(source);
        if (right === undefined) {
          const wider = { ...plan, seats: seats | source };
          if (at + 1 === sources.length) this.#assemble(extent, wider, onDone);
          else this.#equaliseOne(extent, { plan: wider, at: at + 1 }, onDone);
          return;
        }
        let differing = 0;
        let unreadable = 0;
        for (const seat of seatsIn(seats & ~source)) {
          const digest = digests.get(seat);
          if (only !== undefined) differing |= seat;
          else if (digest === undefined) unreadable |= seat;
          else if (!isEqual(digest, right)) {
            differing |= seat;
            onDifferent?.(seat, extent);
          }
        }
        if ((differing | unreadable) === 0) onDone(0);
        else {
          this.#copy(
            extent,
            { ...plan, seats: differing | unreadable },
            {
              right: { ...right, from: [source] },
              onDone: (failure) => this.#end(extent, { errno: failure, unreadable }, onDone),
            },
          );
        }
      },
    });
  }

  /** No replica can read all of it: each block from one that can. What is a hole is taken from the first. */
  #assemble(extent: number, plan: CopyPlan, onDone: (errno: number) => void): void {
    const { sources, seats } = plan;
    this.#surveyOne(extent, sources[0]!, (errno, found) => {
      const end = (failure: number): void => {
        if (failure === EIO) this.#lost(extent);
        this.#end(extent, { errno: failure, unreadable: seats }, onDone);
      };
      if (errno !== 0 || found === undefined) end(errno === 0 ? EIO : errno);
      else {
        const { dataMask, stamp } = found;
        this.#copy(extent, plan, { right: { dataMask, stamp, from: sources }, onDone: end });
      }
    });
  }

  /** Told once, however often it is tried. */
  #lost(extent: number): void {
    if (this.unreadable.has(extent)) return;
    this.unreadable.add(extent);
    this.#head.host.onEvent('no readable copy', { extent });
  }

  #end(
    extent: number,
    { errno, unreadable }: { readonly errno: number; readonly unreadable: number },
    onDone: (errno: number) => void,
  ): void {
    const { host, members } = this.#head;
    if (errno === 0) this.unreadable.delete(extent);
    for (const seat of errno === 0 ? seatsIn(unreadable) : []) {
      this.repairedCount++;
      host.onEvent('copy repaired', { replica: members.at(seat).replica, extent });
    }
    onDone(errno);
  }

  #copy(
    extent: number,
    { only, sizeBytes, seats }: CopyPlan,
    { right, onDone }: { readonly right: Right; readonly onDone: (errno: number) => void },
  ): void {
    const start = extent * EXTENT_BYTES;
    const offsetBytes = Math.max(start, only?.offsetBytes ?? 0);
    const endBytes = Math.min(
      start + EXTENT_BYTES,
      only === undefined ? sizeBytes : only.offsetBytes + only.lengthBytes,
    );
    const { dataMask, stamp, from } = right;
    const { path, host } = this.#head;
    host.borrow((address) => {
      const range = { offsetBytes, lengthBytes: endBytes - offsetBytes, address };
      const end = (errno: number): void => {
        if (errno === 0) host.giveBack(address);
        else host.abandon(address);
        onDone(errno);
      };
      readFrom(path, { seats: from, ...range }, (errno) => {
        if (errno === 0) path.ask({ kind: 'copy', seats, dataMask, stamp, ...range, onDone: end });
        else end(errno);
      });
    });
  }
}

function isEqual(a: Digest, b: Digest): boolean {
  return a.dataMask === b.dataMask && a.words.every((word, index) => word === b.words[index]);
}
