/**
 * The map: (volume, extent) -> versions. 8 bytes per mapped extent inline, 16 more for each further version.
 *
 *     word 0   cell number; or LIST | index of the newest version in the pool; or NONE
 *     word 1   data mask | era << 16 (inline only: its decided mask is full, as nothing lies below)
 *
 * Leaves of 512 extents are cut from slabs. An era is a volume's number for a pair (birth, epoch): see volume.ts.
 */

import { assert } from '../lib/assert.ts';
import type { Volume } from './volume.ts';

export const NONE = 0xffffffff;
const LIST = 0x80000000;
const LEAF_EXTENTS = 512;
const LEAF_WORDS = LEAF_EXTENTS * 2;
/** 64 leaves of 4 KiB. */
const SLAB_LEAVES = 64;
const POOL_WORDS = 4;
const ALL = 0xffff;

/** One version of an extent, newest first in a list. `decided`: blocks it says something of; `data`: those that have bytes. */
export type Version = { cell: number; decided: number; data: number; era: number };

export class ExtentMap {
  readonly #slabs: Uint32Array[] = [];
  readonly #freeLeaves: number[] = [];
  #leafCount = 0;
  /** Words: cell, decided | data << 16, era, next (NONE ends). */
  #pool = new Uint32Array(POOL_WORDS * 256);
  #poolUsed = 0;
  #poolFree = NONE;
  // The cursor that `locate` sets.
  #slab: Uint32Array = new Uint32Array(0);
  #at = 0;

  /** Points the cursor at an extent's entry; false where its leaf does not exist (and is not made). */
  #locate(volume: Volume, extent: number, make: boolean): boolean {
    let leaf = volume.leaves[extent >>> 9] ?? 0;
    if (leaf === 0) {
      if (!make) return false;
      leaf = this.#makeLeaf() + 1;
      volume.leaves[extent >>> 9] = leaf;
    }
    const index = leaf - 1;
    this.#slab = this.#slabs[Math.floor(index / SLAB_LEAVES)] ?? this.#slab;
    this.#at = (index % SLAB_LEAVES) * LEAF_WORDS + (extent & (LEAF_EXTENTS - 1)) * 2;
    return true;
  }

  #makeLeaf(): number {
    const free = this.#freeLeaves.pop();
    if (free !== undefined) return free;
    if (this.#leafCount % SLAB_LEAVES === 0) {
      this.#slabs.push(new Uint32Array(SLAB_LEAVES * LEAF_WORDS).fill(NONE));
    }
    return this.#leafCount++;
  }

  /** Frees the leaves of a deleted volume, whose extents are all gone. */
  drop(volume: Volume): void {
    volume.leaves.forEach((leaf, index) => {
      if (leaf === 0) return;
      this.#locate(volume, index * LEAF_EXTENTS, false);
      this.#slab.fill(NONE, this.#at, this.#at + LEAF_WORDS);
      this.#freeLeaves.push(leaf - 1);
    });
    volume.leaves = new Int32Array(0);
  }

  /**
   * The hot path of reads: when the extent has exactly one version, returns its cell and leaves its data mask and era for
   * {@link data} and {@link era}. NONE: nothing is mapped. -1: there is a list, use {@link versions}.
   */
  single(volume: Volume, extent: number): number {
    if (!this.#locate(volume, extent, false)) return NONE;
    const word = this.#slab[this.#at] ?? NONE;
    if (word === NONE) return NONE;
    if ((word & LIST) !== 0) return -1;
    const rest = this.#slab[this.#at + 1] ?? 0;
    this.data = rest & ALL;
    this.era = rest >>> 16;
    return word;
  }
  data = 0;
  era = 0;

  /** All versions of an extent, newest first. A fresh array that the caller owns. */
  versions(volume: Volume, extent: number): Version[] {
    const cell = this.single(volume, extent);
    if (cell === NONE) return [];
    if (cell >= 0) return [{ cell, decided: ALL, data: this.data, era: this.era }];
    const versions: Version[] = [];
    for (let node = (this.#slab[this.#at] ?? 0) & ~LIST; node !== NONE;) {
      const at = node * POOL_WORDS;
      const masks = this.#pool[at + 1] ?? 0;
      versions.push({
        cell: this.#pool[at] ?? 0,
        decided: masks & ALL,
        data: masks >>> 16,
        era: this.#pool[at + 2] ?? 0,
      });
      node = this.#pool[at + 3] ?? NONE;
    }
    return versions;
  }

  /** Replaces an extent's single version. */
  setSingle(
    volume: Volume,
    extent: number,
    version: { readonly cell: number; readonly data: number; readonly era: number },
  ): void {
    this.#locate(volume, extent, true);
    const old = this.#slab[this.#at] ?? NONE;
    if (old !== NONE && (old & LIST) !== 0) this.#freeList(old & ~LIST);
    this.#slab[this.#at] = version.cell;
    this.#slab[this.#at + 1] = version.data | (version.era << 16);
  }

  /** Replaces an extent's versions, newest first; none unmaps it. */
  setVersions(volume: Volume, extent: number, versions: readonly Version[]): void {
    const [only] = versions;
    // While owners are loaded the newest version may come first: what it leaves open must stay open for those to come.
    if (only !== undefined && versions.length === 1 && only.decided === ALL) {
      this.setSingle(volume, extent, only);
      return;
    }
    if (!this.#locate(volume, extent, only !== undefined)) return;
    const old = this.#slab[this.#at] ?? NONE;
    if (old !== NONE && (old & LIST) !== 0) this.#freeList(old & ~LIST);
    let next = NONE;
    for (const version of versions.toReversed()) next = this.#node(version, next);
    this.#slab[this.#at] = next === NONE ? NONE : (next | LIST) >>> 0;
    this.#slab[this.#at + 1] = 0;
  }

  #node(version: Version, next: number): number {
    let node = this.#poolFree;
    if (node === NONE) {
      node = this.#poolUsed++;
      if ((node + 1) * POOL_WORDS > this.#pool.length) {
        const grown = new Uint32Array(this.#pool.length * 2);
        grown.set(this.#pool);
        this.#pool = grown;
      }
    } else {
      this.#poolFree = this.#pool[node * POOL_WORDS + 3] ?? NONE;
    }
    assert(node < 0x7fffffff, 'a list index has 31 bits');
    this.#pool.set(
      [version.cell, (version.decided | (version.data << 16)) >>> 0, version.era, next],
      node * POOL_WORDS,
    );
    return node;
  }

  #freeList(first: number): void {
    for (let node = first; node !== NONE;) {
      const next = this.#pool[node * POOL_WORDS + 3] ?? NONE;
      this.#pool[node * POOL_WORDS + 3] = this.#poolFree;
      this.#poolFree = node;
      node = next;
    }
  }

  /** Calls `visit` for each mapped extent at or after `from`, until it returns false. */
  forEach(volume: Volume, from: number, visit: (extent: number) => boolean): void {
    for (let leaf = from >>> 9; leaf < volume.leaves.length; leaf++) {
      if ((volume.leaves[leaf] ?? 0) === 0) continue;
      const first = Math.max(from, leaf * LEAF_EXTENTS);
      for (let extent = first; extent < (leaf + 1) * LEAF_EXTENTS; extent++) {
        this.#locate(volume, extent, false);
        if ((this.#slab[this.#at] ?? NONE) !== NONE && !visit(extent)) return;
      }
    }
  }
}

/** Blocks with data that a reader of the volume sees. */
export function visibleData(versions: readonly Version[]): number {
  let decided = 0;
  let data = 0;
  for (const version of versions) {
    data |= version.data & ~decided;
    decided |= version.decided;
  }
  return data;
}
