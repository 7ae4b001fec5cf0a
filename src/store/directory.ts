/**
 * The directory: for each metadata page, which generation is the newest and in which of its two copies it lies.
 *
 * Between two checkpoints a page is written only to the copy that the last checkpoint does not reference, as often as need be.
 * A checkpoint writes the directory's changed pages, again to unreferenced copies, and its superblock makes them count.
 */

import { assert } from '../lib/assert.ts';
import { ENTRIES_PER_DIRECTORY_PAGE } from './geometry.ts';

/** Written since the last checkpoint: the entry's copy is not referenced yet. */
const WRITTEN = 1;
/** The two copies differ: rot in one could not be healed from the other. */
const UNMIRRORED = 2;

export class Directory {
  /** generation * 2 + copy, by page number; 0: never written. */
  #entries: Uint32Array;
  #flags: Uint8Array;
  /** Pages with the WRITTEN flag. */
  #written: number[] = [];
  /** Where the search for unmirrored pages goes on. */
  #cursor = 0;
  /** Directory pages with changed entries. */
  readonly dirty: Set<number> = new Set();
  /** Directory pages of which one copy only is as it should be: the next checkpoint makes the other one equal. */
  readonly halves: Set<number> = new Set();
  /** Generation (number of the checkpoint that wrote it) and copy of each directory page; generation 0: never written. */
  readonly pageGenerations: Float64Array;
  readonly pageCopies: Uint8Array;

  constructor(pageCount: number, directoryPages: number) {
    this.#entries = new Uint32Array(pageCount);
    this.#flags = new Uint8Array(pageCount);
    this.pageGenerations = new Float64Array(directoryPages);
    this.pageCopies = new Uint8Array(directoryPages);
  }

  grow(pageCount: number): void {
    const entries = new Uint32Array(pageCount);
    entries.set(this.#entries);
    this.#entries = entries;
    const flags = new Uint8Array(pageCount);
    flags.set(this.#flags);
    this.#flags = flags;
  }

  generation(page: number): number {
    return (this.#entries[page] ?? 0) >>> 1;
  }

  copy(page: number): number {
    return (this.#entries[page] ?? 0) & 1;
  }

  /** The copy that the next write of `page` may overwrite. */
  writableCopy(page: number): number {
    const copy = this.copy(page);
    if (this.generation(page) === 0) return 0;
    return ((this.#flags[page] ?? 0) & WRITTEN) === 0 ? copy ^ 1 : copy;
  }

  /** Records that generation `generation` of `page` is in `copy` now. */
  wrote(page: number, generation: number, copy: number): void {
    assert(page < this.#entries.length, 'the directory has an entry for each page of the drive');
    assert(generation > this.generation(page), 'generations of a page only rise');
    if (((this.#flags[page] ?? 0) & WRITTEN) === 0) this.#written.push(page);
    this.#entries[page] = generation * 2 + copy;
    this.#flags[page] = WRITTEN | UNMIRRORED;
    this.dirty.add(Math.floor(page / ENTRIES_PER_DIRECTORY_PAGE));
  }

  /** Rot was found in the referenced copy and the other one is good: reference that one from now on. */
  preferOther(page: number): void {
    this.#entries[page] = (this.#entries[page] ?? 0) ^ 1;
    this.#flags[page] = (this.#flags[page] ?? 0) | UNMIRRORED;
  }

  /** The checkpoint's superblock is durable: all that was written is referenced. */
  checkpointed(): void {
    for (const page of this.#written) this.#flags[page] = (this.#flags[page] ?? 0) & ~WRITTEN;
    this.#written = [];
  }

  /** Up to `limit` pages whose copies differ and whose other copy is free to be overwritten. */
  unmirrored(limit: number): number[] {
    const pages: number[] = [];
    for (let step = 0; step < this.#flags.length && pages.length < limit; step++) {
      this.#cursor = (this.#cursor + 1) % this.#flags.length;
      if (this.#flags[this.#cursor] === UNMIRRORED) pages.push(this.#cursor);
    }
    return pages;
  }

  /** One copy was found rotten: the other is to be copied over it. */
  unmirror(page: number): void {
    this.#flags[page] = (this.#flags[page] ?? 0) | UNMIRRORED;
  }

  mirrored(page: number): void {
    this.#flags[page] = (this.#flags[page] ?? 0) & ~UNMIRRORED;
  }

  /** The entries of one directory page, to write or to fill. */
  entriesOf(directoryPage: number): Uint32Array {
    const first = directoryPage * ENTRIES_PER_DIRECTORY_PAGE;
    return this.#entries.subarray(first, first + ENTRIES_PER_DIRECTORY_PAGE);
  }

  /** Of the generations of all directory pages: the superblock carries it, so that a lost write of one is noticed. */
  digest(): readonly [number, number] {
    let low = 0x811c9dc5;
    let high = 0x9e3779b1;
    for (let index = 0; index < this.pageGenerations.length; index++) {
      const generation = this.pageGenerations[index] ?? 0;
      if (generation === 0) continue;
      low = Math.imul(low ^ index ^ (generation >>> 0), 0x01000193) >>> 0;
      high =
        Math.imul(
          high + Math.floor(generation / 2 ** 32) + (generation >>> 0) + index,
          0x85ebca6b,
        ) >>> 0;
    }
    return [low, high];
  }
}
