/**
 * Who still reads or writes a piece of memory: requests to replicas that were given it. A client's request may be over before those are,
 * when a replica was given up; its memory is the client's again only after them (docs/memory-safety.md).
 */

import { assert } from '../../lib/assert.ts';

export class MemoryUses {
  /** How many requests use the memory at an address. */
  readonly #counts = new Map<number, number>();
  readonly #waiting = new Map<number, () => void>();

  use(address: number): void {
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1);
  }

  release(address: number): void {
    const count = this.#counts.get(address);
    assert(count !== undefined, 'what is released was in use');
    if (count > 1) {
      this.#counts.set(address, count - 1);
      return;
    }
    this.#counts.delete(address);
    const free = this.#waiting.get(address);
    this.#waiting.delete(address);
    free?.();
  }

  /** Calls `then` once nothing uses the memory at `address`: now, mostly. One waits for an address at a time. */
  whenFree(address: number, then: () => void): void {
    if (!this.#counts.has(address)) {
      then();
      return;
    }
    assert(!this.#waiting.has(address), 'memory has one owner');
    this.#waiting.set(address, then);
  }
}
