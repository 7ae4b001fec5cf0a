/** Requests and their pieces: pooled objects, so that the I/O path allocates nothing per operation. */

import { NONE } from './extent-map.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import type { OnDone } from '../model/block-target.ts';
import type { Volume } from './volume.ts';

export type RequestKind = 'read' | 'write' | 'zero' | 'trim' | 'flush';

/** Who asks: an open volume or snapshot. */
export type Client = {
  readonly volume: Volume;
  /** Versions born later are not seen: the snapshot's birth, or Infinity. */
  readonly birthMax: number;
  readonly onDone: OnDone;
};

/** One request of a client, from its submission to its answer. Instances are reused. */
export class Request {
  client: Client | undefined;
  kind: RequestKind = 'read';
  token = 0;
  /** Next byte to cut a piece from, and the end. */
  cursor = 0;
  end = 0;
  offset = 0;
  /** Arena address of the byte at `offset`. */
  address = 0;
  fua = false;
  allocate = false;
  /** Of a change of a replicated volume: what marks it. Number 0: it leaves no mark. */
  epoch = 0;
  number = 0;
  /** Of a change of a replicated volume: the epoch that the changed versions get, unless theirs is newer. */
  stamp = 0;
  outstanding = 0;
  /** In the queue for pieces. */
  waiting = false;
  errno = 0;
  /** The newest frame with a change of this request. */
  lsn = 0;
  /** In the pool, or in the queue for pieces. */
  next: Request | undefined;
  /** For requests of the store itself: called instead of the client. */
  done: ((errno: number) => void) | undefined;
}

/** read; write: whole blocks; edge: part of one block; zero: whole blocks that keep their space; trim. */
export type PieceKind = 'read' | 'write' | 'edge' | 'zero' | 'trim';

/** The part of a request that lies in one extent. */
export class Piece {
  /** Its number: waiter of pages; times 16, the index of its I/O. */
  readonly index: number;
  request: Request | undefined;
  kind: PieceKind = 'read';
  extent = 0;
  /** Blocks of the extent, a contiguous run. */
  mask = 0;
  /** Arena address where block 0 of the extent would be. */
  base = 0;
  /** Edge: the part of the block, and where the bytes come from (0: zeros). */
  edgeFrom = 0;
  edgeLength = 0;
  edgeSource = 0;
  scratch = -1;
  /** Where it goes on when what it waits for has come. */
  stage: 'gate' | 'start' | 'reading' | 'verify' | 'change' | 'placing' | 'taking' = 'gate';
  pending = 0;
  /** It counts among the changes that look for their pages. */
  changing = false;
  errno = 0;
  lsn = 0;
  /** Taken for this piece, not yet in any record. */
  newCell = -1;
  /** The data is in the new cell already. */
  placed = false;
  /** Read: cell of each block read from the drive, NONE for the others. */
  readonly cells: Uint32Array = new Uint32Array(EXTENT_BLOCKS).fill(NONE);
  /** I/O lengths in flight, by first block. */
  readonly lengths: Uint32Array = new Uint32Array(EXTENT_BLOCKS);
  gateNext: Piece | undefined;
  /** In the queue it waits in. */
  next: Piece | undefined;

  constructor(index: number) {
    this.index = index;
  }
}

/** A first-in first-out queue through the objects' own `next`. */
export class Queue<T extends { next: T | undefined }> {
  #first: T | undefined;
  #last: T | undefined;

  get isEmpty(): boolean {
    return this.#first === undefined;
  }

  push(item: T): void {
    item.next = undefined;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
  }

  shift(): T | undefined {
    const item = this.#first;
    if (item === undefined) return undefined;
    this.#first = item.next;
    if (this.#first === undefined) this.#last = undefined;
    item.next = undefined;
    return item;
  }
}

/** The number of set bits of a 16-bit mask. */
export function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The lowest set bit's number; 32 for 0. */
export function lowestBit(mask: number): number {
  return mask === 0 ? 32 : 31 - Math.clz32(mask & -mask);
}

/** The length of the run of ones that starts at bit `from`. */
export function runLength(mask: number, from: number): number {
  return lowestBit(~(mask >>> from));
}
