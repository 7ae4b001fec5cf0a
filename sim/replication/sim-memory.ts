/** Memory of all engines of the simulation: a number stands for the bytes of a block. */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';

export class SimMemory {
  readonly #blocks = new Map<number, number>();
  #next = BLOCK_BYTES;

  /** Address of `blockCount` blocks that nobody else has. */
  allocate(blockCount: number): number {
    const address = this.#next;
    this.#next += blockCount * BLOCK_BYTES;
    return address;
  }

  get(address: number): number {
    return this.#blocks.get(address) ?? 0;
  }

  set(address: number, value: number): void {
    this.#blocks.set(address, value);
  }

  free(address: number, blockCount: number): void {
    for (let index = 0; index < blockCount; index++) {
      this.#blocks.delete(address + index * BLOCK_BYTES);
    }
  }
}
