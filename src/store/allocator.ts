/**
 * Which cells are free. A freed cell waits in limbo until the frame that freed it is durable and no apply to it is under way:
 * only then may another extent get it (drive-store.md, H4 and O5).
 *
 * A bitmap is kept only for chunks that are neither quite free nor quite full, 128 bytes each.
 */

import { assert } from '../lib/assert.ts';

const NONE = -1;

export class Allocator {
  readonly #cellsPerChunk: number;
  /** Free cells by chunk. */
  #free: Int32Array;
  /** 1: taken. By chunk, only while 0 < free < all. */
  readonly #bitmaps = new Map<number, Uint32Array>();
  #chunk = 0;
  #within = 0;
  #freeCount = 0;
  /** Freed, not yet reusable; LSNs rise. */
  #limboCells: number[] = [];
  #limboLsns: number[] = [];
  #limboFirst = 0;

  constructor(options: { readonly chunkCount: number; readonly cellsPerChunk: number }) {
    this.#cellsPerChunk = options.cellsPerChunk;
    this.#free = new Int32Array(0);
    this.grow(options.chunkCount);
  }

  grow(chunkCount: number): void {
    const free = new Int32Array(chunkCount).fill(this.#cellsPerChunk);
    free.set(this.#free);
    this.#freeCount += (chunkCount - this.#free.length) * this.#cellsPerChunk;
    this.#free = free;
  }

  /** Cells that may be taken now. */
  get freeCount(): number {
    return this.#freeCount;
  }

  get limboCount(): number {
    return this.#limboCells.length - this.#limboFirst;
  }

  /** The LSN that must be durable for the newest cell in limbo to come free. */
  get limboLsn(): number {
    return this.#limboLsns.at(-1) ?? 0;
  }

  get cellCount(): number {
    return this.#free.length * this.#cellsPerChunk;
  }

  /** Takes a free cell, next to the last one taken where possible; NONE (-1) when there is none. */
  take(): number {
    for (let step = 0; step <= this.#free.length; step++) {
      const cell = (this.#free[this.#chunk] ?? 0) > 0 ? this.#scan() : NONE;
      if (cell !== NONE) {
        this.mark(cell);
        return cell;
      }
      this.#chunk = (this.#chunk + 1) % this.#free.length;
      this.#within = 0;
    }
    return NONE;
  }

  #scan(): number {
    const bitmap = this.#bitmaps.get(this.#chunk);
    const first = this.#chunk * this.#cellsPerChunk;
    for (let within = this.#within; within < this.#cellsPerChunk; within++) {
      const word = bitmap?.[within >>> 5] ?? 0;
      if (word === 0xffffffff) within |= 31;
      else if (((word >>> (within & 31)) & 1) === 0) {
        this.#within = within + 1;
        return first + within;
      }
    }
    // Free cells lie before the cursor: come round to them.
    this.#within = 0;
    return NONE;
  }

  /** Starts the search at this chunk. */
  seek(chunk: number): void {
    this.#chunk = chunk % this.#free.length;
    this.#within = 0;
  }

  isTaken(cell: number): boolean {
    const chunk = Math.floor(cell / this.#cellsPerChunk);
    const free = this.#free[chunk] ?? 0;
    if (free === 0) return true;
    const within = cell - chunk * this.#cellsPerChunk;
    return (((this.#bitmaps.get(chunk)?.[within >>> 5] ?? 0) >>> (within & 31)) & 1) === 1;
  }

  /** Marks a free cell as taken. */
  mark(cell: number): void {
    assert(!this.isTaken(cell), 'a cell has one owner');
    const chunk = Math.floor(cell / this.#cellsPerChunk);
    const within = cell - chunk * this.#cellsPerChunk;
    const left = (this.#free[chunk] ?? 0) - 1;
    this.#free[chunk] = left;
    this.#freeCount--;
    if (left === 0) {
      this.#bitmaps.delete(chunk);
      return;
    }
    let bitmap = this.#bitmaps.get(chunk);
    if (bitmap === undefined) {
      bitmap = new Uint32Array(Math.ceil(this.#cellsPerChunk / 32));
      this.#bitmaps.set(chunk, bitmap);
    }
    bitmap[within >>> 5] = (bitmap[within >>> 5] ?? 0) | (1 << (within & 31));
  }

  /** Gives a cell back at once: only where nothing on the drive refers to it. */
  unmark(cell: number): void {
    assert(this.isTaken(cell), 'only a taken cell is given back');
    const chunk = Math.floor(cell / this.#cellsPerChunk);
    const within = cell - chunk * this.#cellsPerChunk;
    let bitmap = this.#bitmaps.get(chunk);
    if (bitmap === undefined) {
      bitmap = new Uint32Array(Math.ceil(this.#cellsPerChunk / 32)).fill(0xffffffff);
      this.#bitmaps.set(chunk, bitmap);
    }
    bitmap[within >>> 5] = (bitmap[within >>> 5] ?? 0) & ~(1 << (within & 31));
    this.#free[chunk] = (this.#free[chunk] ?? 0) + 1;
    this.#freeCount++;
    if (this.#free[chunk] === this.#cellsPerChunk) this.#bitmaps.delete(chunk);
  }

  /** Frame `lsn` freed `cell`. */
  limbo(cell: number, lsn: number): void {
    this.#limboCells.push(cell);
    this.#limboLsns.push(lsn);
  }

  /** Frees the cells in limbo whose frames are durable; to be called while no apply is under way. Returns how many. */
  settle(durableLsn: number): number {
    let count = 0;
    while (
      this.#limboFirst < this.#limboCells.length &&
      (this.#limboLsns[this.#limboFirst] ?? 0) <= durableLsn
    ) {
      this.unmark(this.#limboCells[this.#limboFirst] ?? 0);
      this.#limboFirst++;
      count++;
    }
    if (this.#limboFirst > 1024 && this.#limboFirst * 2 > this.#limboCells.length) {
      this.#limboCells = this.#limboCells.slice(this.#limboFirst);
      this.#limboLsns = this.#limboLsns.slice(this.#limboFirst);
      this.#limboFirst = 0;
    } else if (this.#limboFirst === this.#limboCells.length && this.#limboFirst > 0) {
      this.#limboCells = [];
      this.#limboLsns = [];
      this.#limboFirst = 0;
    }
    return count;
  }
}
