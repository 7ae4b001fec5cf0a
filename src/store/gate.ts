/**
 * The gate: pieces that touch the same block take effect one after the other, in the order in which they came. Reads share.
 * So log order is media order, and no read sees half of a write (drive-store.md, H10).
 */

import type { Piece } from './piece.ts';

const BUCKETS = 4096;

export class Gate {
  readonly #buckets: (Piece | undefined)[] = Array.from({ length: BUCKETS }, () => undefined);

  /** Lets `piece` in, or keeps it (stage 'gate') until {@link leave} hands it out. */
  enter(piece: Piece): boolean {
    const bucket = bucketOf(piece);
    piece.gateNext = undefined;
    let last: Piece | undefined;
    let free = true;
    for (let other = this.#buckets[bucket]; other !== undefined; other = other.gateNext) {
      if (conflict(other, piece)) free = false;
      last = other;
    }
    if (last === undefined) this.#buckets[bucket] = piece;
    else last.gateNext = piece;
    piece.stage = free ? 'start' : 'gate';
    return free;
  }

  /** `piece` is over; calls `admit` for each one that waited only for it. */
  leave(piece: Piece, admit: (piece: Piece) => void): void {
    const bucket = bucketOf(piece);
    let first = this.#buckets[bucket];
    if (first === piece) {
      first = piece.gateNext;
      this.#buckets[bucket] = first;
    } else {
      let before = first;
      while (before !== undefined && before.gateNext !== piece) before = before.gateNext;
      if (before !== undefined) before.gateNext = piece.gateNext;
    }
    piece.gateNext = undefined;
    for (let waiter = first; waiter !== undefined;) {
      const next = waiter.gateNext;
      if (waiter.stage === 'gate' && conflict(waiter, piece) && this.#isFree(bucket, waiter)) {
        waiter.stage = 'start';
        admit(waiter);
      }
      waiter = next;
    }
  }

  /** Whether nothing that came before `piece` conflicts with it. */
  #isFree(bucket: number, piece: Piece): boolean {
    for (let other = this.#buckets[bucket]; other !== piece; other = other?.gateNext) {
      if (other === undefined || conflict(other, piece)) return false;
    }
    return true;
  }
}

function conflict(a: Piece, b: Piece): boolean {
  return (
    a.extent === b.extent &&
    (a.mask & b.mask) !== 0 &&
    (a.kind !== 'read' || b.kind !== 'read') &&
    a.request?.client?.volume === b.request?.client?.volume
  );
}

function bucketOf(piece: Piece): number {
  const volume = piece.request?.client?.volume.number ?? 0;
  return (
    (Math.imul(piece.extent ^ Math.imul(volume, 0x85ebca6b), 0x9e3779b1) >>> 8) & (BUCKETS - 1)
  );
}
