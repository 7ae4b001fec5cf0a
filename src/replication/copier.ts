/**
 * Makes extents equal: asks for digests, and gives the content of one replica to those that differ, as a change that leaves marks like
 * any other. Whoever calls it holds the range, so that no other change comes in between (F17).
 */

import type { Member } from './member.ts';
import { type Digest, EXTENT_BYTES } from './messages.ts';
import type { WritePath } from './write-path.ts';

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
  /** The seat of the replica that is right. */
  readonly source: number;
  /** Those that are made equal to it. */
  readonly seats: number;
  readonly sizeBytes: number;
  /** Only this much is held, and made equal, whatever the digests say of the rest. */
  readonly only?: { readonly offsetBytes: number; readonly lengthBytes: number };
};

export class Copier {
  readonly #path: WritePath;
  readonly #buffers: CopyBuffers;

  constructor(path: WritePath, buffers: CopyBuffers) {
    this.#path = path;
    this.#buffers = buffers;
  }

  /** Ends in `onDone(errno)`: 0, or that of the first failure, when nothing of it is under way any more. */
  equalise(extents: readonly number[], plan: CopyPlan, onDone: (errno: number) => void): void {
    let next = 0;
    let underWay = 0;
    let failure = 0;
    const advance = (): void => {
      while (failure === 0 && next < extents.length && underWay < COPIES_MAX) {
        const extent = extents[next++]!;
        underWay++;
        this.#equaliseOne(extent, plan, (errno) => {
          underWay--;
          if (failure === 0) failure = errno;
          advance();
        });
      }
      if (underWay === 0 && (failure !== 0 || next === extents.length)) {
        underWay = -1;
        onDone(failure);
      }
    };
    advance();
  }

  #equaliseOne(extent: number, plan: CopyPlan, onDone: (errno: number) => void): void {
    const digests = new Map<number, Digest>();
    this.#path.ask({
      kind: 'digest',
      seats: plan.seats | plan.source,
      number: extent,
      onAnswer: (member: Member, { digest }) => {
        if (digest !== undefined) digests.set(member.seat, digest);
      },
      onDone: (errno) => {
        const right = digests.get(plan.source);
        if (errno !== 0 || right === undefined) {
          onDone(errno);
          return;
        }
        let differing = 0;
        for (const [seat, digest] of digests) {
          const isSame = plan.only === undefined ? isEqual(digest, right) : seat === plan.source;
          if (!isSame) differing |= seat;
        }
        if (differing === 0) onDone(0);
        else this.#copy(extent, { ...plan, seats: differing, digest: right }, onDone);
      },
    });
  }

  #copy(
    extent: number,
    plan: CopyPlan & { readonly digest: Digest },
    onDone: (errno: number) => void,
  ): void {
    const start = extent * EXTENT_BYTES;
    const { only, sizeBytes, seats, source } = plan;
    const offsetBytes = Math.max(start, only?.offsetBytes ?? 0);
    const endBytes = Math.min(
      start + EXTENT_BYTES,
      only === undefined ? sizeBytes : only.offsetBytes + only.lengthBytes,
    );
    const { dataMask, stamp } = plan.digest;
    this.#buffers.borrow((address) => {
      const range = { offsetBytes, lengthBytes: endBytes - offsetBytes, address };
      const end = (errno: number): void => {
        if (errno === 0) this.#buffers.giveBack(address);
        else this.#buffers.abandon(address);
        onDone(errno);
      };
      this.#path.ask({
        kind: 'read',
        seats: source,
        ...range,
        onDone: (errno) => {
          if (errno === 0)
            this.#path.ask({ kind: 'copy', seats, dataMask, stamp, ...range, onDone: end });
          else end(errno);
        },
      });
    });
  }
}

function isEqual(a: Digest, b: Digest): boolean {
  return a.dataMask === b.dataMask && a.words.every((word, index) => word === b.words[index]);
}
