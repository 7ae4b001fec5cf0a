/**
 * Places for the data paths of attached volumes: each has a range of completion indexes and a part of the arena, given
 * back when the volume is detached. All share one port, because ports are few and live as long as the Io.
 */

import { assert } from '../lib/assert.ts';
import type { Io, Port } from '../env/io.ts';

/** Completion indexes of one berth: 64 requests read, 64 answered, and what the NBD client has in flight. */
export const BERTH_INDEX_COUNT = 256;

export type BerthOwner = {
  /** As {@link import('../env/io.ts').OnCompletion}, with an index below {@link BERTH_INDEX_COUNT}. */
  onCompletion(index: number, result: number): void;
  /** Called after each batch of completions, before the reactor waits. */
  onTurnEnd(): void;
};

export type Berth = {
  readonly io: Io;
  readonly port: Port;
  /** Added to each index that the owner submits with. */
  readonly firstIndex: number;
  /** First byte of the owner's part of the arena, a multiple of 4096. */
  readonly address: number;
};

export class Berths {
  readonly io: Io;
  readonly #port: Port;
  readonly #firstAddress: number;
  readonly #berthBytes: number;
  readonly #owners: (BerthOwner | undefined)[];

  constructor(
    io: Io,
    options: { readonly firstAddress: number; readonly berthBytes: number; readonly count: number },
  ) {
    this.io = io;
    this.#firstAddress = options.firstAddress;
    this.#berthBytes = options.berthBytes;
    this.#owners = Array.from({ length: options.count });
    assert(
      options.firstAddress + options.count * options.berthBytes <= io.memory.buffer.byteLength,
      'berths lie in the arena',
    );
    this.#port = io.port((index, result) => {
      const owner = this.#owners[Math.floor(index / BERTH_INDEX_COUNT)];
      assert(owner !== undefined, 'a berth is given back only when nothing is in flight');
      owner.onCompletion(index % BERTH_INDEX_COUNT, result);
    });
    io.onTurnEnd(() => {
      for (const owner of this.#owners) owner?.onTurnEnd();
    });
  }

  /** Gives the lowest free berth to what `makeOwner` returns for it. Undefined when all are taken. */
  take<Owner extends BerthOwner>(makeOwner: (berth: Berth) => Owner): Owner | undefined {
    const number = this.#owners.findIndex((owner) => owner === undefined);
    if (number < 0) return undefined;
    const owner = makeOwner({
      io: this.io,
      port: this.#port,
      firstIndex: number * BERTH_INDEX_COUNT,
      address: this.#firstAddress + number * this.#berthBytes,
    });
    this.#owners[number] = owner;
    return owner;
  }

  /** Takes a berth back. Its owner has nothing in flight. */
  give(owner: BerthOwner): void {
    const number = this.#owners.indexOf(owner);
    assert(number >= 0, 'a berth is given back once');
    this.#owners[number] = undefined;
  }
}
