/**
 * What one drive holds of the volume: content, marks and state, as it was taken (a killed process loses nothing of that) and as it is
 * durable (a power cut leaves that, and any part of the rest). Blocks hold numbers; 0 is a hole.
 */

import type { Prng } from '../../src/lib/prng.ts';
import type { ReplicaState } from '../../src/replication/replica.ts';

export const EXTENT_BLOCKS = 16;

export type StoredMark = {
  /** One bit for each block. */
  mask: number;
  epoch: number;
  number: number;
};

/** What one change does to one extent: it is there with its mark or not at all. */
export type Piece = {
  readonly extent: number;
  readonly mask: number;
  /** By block of the extent; only those of the mask count. */
  readonly values: readonly number[];
  readonly epoch: number;
  readonly number: number;
  readonly stamp: number;
};

export class Image {
  readonly blocks: Int32Array;
  readonly stamps: Int32Array;
  readonly marks = new Map<number, StoredMark>();

  constructor(blockCount: number) {
    this.blocks = new Int32Array(blockCount);
    this.stamps = new Int32Array(Math.ceil(blockCount / EXTENT_BLOCKS));
  }

  hasSameBlocks({ blocks }: Image): boolean {
    return Buffer.compare(bytesOf(this.blocks), bytesOf(blocks)) === 0;
  }

  copyFrom(other: Image): void {
    this.blocks.set(other.blocks);
    this.stamps.set(other.stamps);
    this.marks.clear();
    for (const [extent, mark] of other.marks) this.marks.set(extent, { ...mark });
  }

  apply(piece: Piece): void {
    const first = piece.extent * EXTENT_BLOCKS;
    for (let index = 0; index < EXTENT_BLOCKS; index++) {
      if ((piece.mask & (1 << index)) !== 0) this.blocks[first + index] = piece.values[index] ?? 0;
    }
    this.stamps[piece.extent] = Math.max(this.stamps[piece.extent] ?? 0, piece.stamp);
    const before = this.marks.get(piece.extent);
    // Changes of one extent take effect in any order: the newest of them decides when the mark goes.
    this.marks.set(piece.extent, {
      mask: piece.mask | (before?.mask ?? 0),
      epoch: Math.max(piece.epoch, before?.epoch ?? 0),
      number: Math.max(piece.number, before?.number ?? 0),
    });
  }

  dropMarks(epoch: number, number: number): void {
    for (const [extent, mark] of this.marks) {
      if (mark.epoch < epoch || mark.number < number) this.marks.delete(extent);
    }
  }
}

function bytesOf({ buffer }: Int32Array): Uint8Array {
  return new Uint8Array(buffer);
}

export class SimMedia {
  readonly blockCount: number;
  readonly taken: Image;
  readonly durable: Image;
  /** Taken and not durable, in order. */
  readonly #volatile: Piece[] = [];
  state: ReplicaState = { seen: undefined, base: undefined };
  life = 1;
  /** Blocks that the drive cannot read any more, until they are written to. */
  readonly rotten = new Set<number>();
  /** Durable as soon as it is answered. */
  sizeBlocks: number;

  /** `blockCount`: the most that the volume may grow to. */
  constructor(blockCount: number, sizeBlocks: number) {
    this.blockCount = blockCount;
    this.sizeBlocks = sizeBlocks;
    this.taken = new Image(blockCount);
    this.durable = new Image(blockCount);
  }

  /** All of it. */
  fingerprint(): string {
    const { seen, base } = this.state;
    const images = [this.taken, this.durable].map(
      ({ blocks, stamps, marks }) =>
        `${blocks.join()} ${stamps.join()} ${JSON.stringify([...marks])}`,
    );
    return `${this.life} ${this.sizeBlocks} ${seen?.lineage}.${seen?.epoch} ${base?.lineage}.${base?.epoch} ${images.join(' ')} ${JSON.stringify(this.#volatile)}`;
  }

  take(piece: Piece): void {
    this.taken.apply(piece);
    this.#volatile.push(piece);
    if (this.rotten.size === 0) return;
    for (let index = 0; index < EXTENT_BLOCKS; index++) {
      if ((piece.mask & (1 << index)) !== 0)
        this.rotten.delete(piece.extent * EXTENT_BLOCKS + index);
    }
  }

  /** Whether a loss of power can lose something. */
  get isVolatile(): boolean {
    return this.#volatile.length > 0;
  }

  /** A fdatasync: what was taken is durable. */
  flush(): void {
    this.durable.copyFrom(this.taken);
    this.#volatile.length = 0;
  }

  /** What is cut off is gone. */
  resize(sizeBlocks: number): void {
    for (const image of [this.taken, this.durable]) image.blocks.fill(0, sizeBlocks);
    this.sizeBlocks = sizeBlocks;
  }

  /** Marks stamped with an epoch stay so. */
  stamp(epoch: number): void {
    for (const image of [this.taken, this.durable]) {
      for (const extent of this.taken.marks.keys()) image.stamps[extent] = epoch;
    }
  }

  /** Power fails: of what is not durable each piece is kept, lost, or kept in part. */
  losePower(prng: Prng): void {
    for (const piece of this.#volatile) {
      if (!prng.chance(60)) continue;
      const mask = prng.chance(70) ? piece.mask : piece.mask & prng.next();
      if (mask !== 0) this.durable.apply({ ...piece, mask });
    }
    this.#volatile.length = 0;
    this.taken.copyFrom(this.durable);
    this.life++;
  }
}
