/** The model of one snapshot's content, beside {@link VolumeModel}, which it is made from. */

import type { Change, Content, VolumeModel } from './model.ts';

/** What one snapshot may hold. Frozen: a content once read is the only one from then on, whatever happens. */
export class SnapshotModel {
  readonly volume: VolumeModel;
  readonly sectorCount: number;
  readonly #contents: Map<number, Content[]>;
  readonly #afterCut: Map<number, Content[]>;
  readonly #onDone: () => void;
  readonly #unreadable: Set<number>;
  isDone = false;

  constructor(
    volume: VolumeModel,
    fields: {
      readonly contents: Map<number, Content[]>;
      readonly afterCut: Map<number, Content[]>;
      readonly onDone: () => void;
    },
  ) {
    this.volume = volume;
    this.sectorCount = volume.sectorCount;
    this.#contents = fields.contents;
    this.#afterCut = fields.afterCut;
    this.#onDone = fields.onDone;
    this.#unreadable = new Set(volume.unreadableBlocks());
  }

  /** A change that was called for while the snapshot was being made may be in it. */
  admit(sector: number, change: Change): void {
    for (const contents of [this.#contents, this.#afterCut]) {
      const legal = contents.get(sector);
      if (legal === undefined) contents.set(sector, [change, undefined]);
      else legal.push(change);
    }
  }

  /** The snapshot is reported as made, or its process died. */
  done(): void {
    this.isDone = true;
    for (const block of this.volume.unreadableBlocks()) this.#unreadable.add(block);
    this.#onDone();
  }

  /** Power went before it was reported: it may hold what a cut leaves. */
  cut(): void {
    for (const [sector, contents] of this.#afterCut) this.#contents.set(sector, contents);
  }

  mayBeUnreadable(firstBlock: number, blockCount: number): boolean {
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      if (this.#unreadable.has(block)) return true;
    }
    return false;
  }

  check(sector: number, words: Uint32Array, at: number, after: string): void {
    const legal = this.#contents.get(sector) ?? [undefined];
    const found = this.volume.checkContent(sector, legal, { words, at, after });
    if (found.length > 0) this.#contents.set(sector, found);
  }
}
