/** Memory for an extent each: for digests, and for what a head copies from one replica to others. */

import type { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import type { MemoryUses } from '../memory-uses.ts';
import { EXTENT_BYTES } from '../../replication/messages.ts';

export class ExtentBuffers {
  readonly #free: number[] = [];
  readonly #waiting: ((address: number) => void)[] = [];

  readonly #memory: MemoryUses;

  /** Takes `count` times 64 KiB of `arena`, for good. */
  constructor(arena: Arena, count: number, memory: MemoryUses) {
    this.#memory = memory;
    for (let index = 0; index < count; index++) {
      const address = arena.reserve(EXTENT_BYTES, BLOCK_BYTES);
      memory.addPiece(address, EXTENT_BYTES);
      this.#free.push(address);
    }
  }

  /** Calls `use` with the address of one: now, or in order of asking once there is one. */
  borrow(use: (address: number) => void): void {
    const free = this.#free.pop();
    if (free === undefined) this.#waiting.push(use);
    else use(free);
  }

  /** It is somebody else's once no replica that was given up uses it any more. */
  giveBack(address: number): void {
    this.#memory.whenFree(address, () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(address);
      else next(address);
    });
  }
}
