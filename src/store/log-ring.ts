/** Where frames go on the drive: a ring of blocks from the tail, which a superblock holds, to the head. */

/** What a checkpoint remembers of the ring's head. */
export type RingPosition = {
  /** Ring block where the next frame goes. */
  readonly block: number;
  /** Blocks appended until then. */
  readonly appended: number;
};

export class LogRing {
  readonly #blockCount: number;
  #head: number;
  /** Blocks ever appended, skipped ones at the ring's end included. */
  #appended = 0;
  #tailAppended = 0;

  constructor(blockCount: number, head: number) {
    this.#blockCount = blockCount;
    this.#head = head;
  }

  /** Blocks between the tail and the head. */
  get usedBlocks(): number {
    return this.#appended - this.#tailAppended;
  }

  hasRoom(blocks: number): boolean {
    return this.usedBlocks + blocks <= this.#blockCount;
  }

  /** Takes `blocks` blocks, which the caller knows to be free, and returns the first. They never wrap: the rest of the ring is skipped. */
  take(blocks: number): number {
    if (this.#head + blocks > this.#blockCount) {
      this.#appended += this.#blockCount - this.#head;
      this.#head = 0;
    }
    const block = this.#head;
    this.#head += blocks;
    this.#appended += blocks;
    return block;
  }

  position(): RingPosition {
    return { block: this.#head, appended: this.#appended };
  }

  /** A superblock with this tail is durable: what lies before it is free. */
  releaseTo(tail: RingPosition): void {
    this.#tailAppended = tail.appended;
  }
}
