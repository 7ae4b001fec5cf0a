/**
 * The life of a drive: a number that rises when it may have lost something that it took (docs/replication.md, "State").
 *
 * Nothing is lost by a process that is killed: what it took is in the drive, and the next process of the same boot finds it. That is
 * known from the boot id in the superblock, and from a note in the memory of the machine that says that no write and no fdatasync
 * failed. The note is taken back as one fails, at once and whatever the drive does then: what a failed drive is asked to remember may
 * be lost with the rest. Without boot id or note, unless it was closed cleanly, the drive counts as one that lost something.
 */

import type { Boot } from '../env/env.ts';
import { NO_BOOT, REPLICAS, type Superblock } from './superblock.ts';
import { hexWords, wordsHex } from './volume.ts';

/** What a superblock says of the life. */
export type LifeFields = Pick<Superblock, 'features' | 'life' | 'bootId'>;

export class Life {
  readonly #boot: Boot;
  readonly #superblock: Superblock;
  readonly #name: string;

  constructor(boot: Boot, superblock: Superblock) {
    this.#boot = boot;
    this.#superblock = superblock;
    this.#name = wordsHex(superblock.driveUuid);
  }

  /** The life that begins with this opening, for its first superblock; to be followed by {@link begun}. */
  opened(): LifeFields {
    const { features, life, clean } = this.#superblock;
    if ((features & REPLICAS) === 0) return { features, life: 0, bootId: NO_BOOT };
    const isIntact = clean || (this.#isOfThisBoot && this.#boot.noted(this.#name));
    // A kill before that superblock is written leaves the one that says so.
    if (isIntact) this.#note();
    return this.#fields(isIntact ? life : life + 1);
  }

  /** The superblock of the opening is durable. Not before: a note beside the old one would vouch for a life that is over. */
  begun({ features }: LifeFields): void {
    if ((features & REPLICAS) !== 0) this.#note();
  }

  /** The first life of a drive that gets its first replica. */
  first(): LifeFields {
    this.#note();
    return this.#fields(1);
  }

  /** A write or fdatasync failed; or the drive is closed cleanly, and its superblock says so. */
  forgetNote(): void {
    this.#boot.takeBack(this.#name);
  }

  #note(): void {
    this.#boot.note(this.#name);
  }

  #fields(life: number): LifeFields {
    return { features: REPLICAS, life, bootId: hexWords(this.#boot.id) };
  }

  get #isOfThisBoot(): boolean {
    return wordsHex(this.#superblock.bootId) === this.#boot.id;
  }
}
