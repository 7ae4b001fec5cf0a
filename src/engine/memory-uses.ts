/**
 * What requests to replicas still read or write. A client's request may be over before those are, when a replica was given up; its memory
 * is handed out again only after them (docs/memory-safety.md).
 */

import { assert } from '../lib/assert.ts';

/** Pieces of memory that requests name begin in different blocks of 4096 bytes. */
const BLOCK_SHIFT = 12;

export class MemoryUses {
  /** By block of the arena: how many requests use what begins in it. Untouched pages of it cost nothing. */
  readonly #counts: Uint16Array;
  readonly #waiting = new Map<number, () => void>();

  constructor(memory: WebAssembly.Memory) {
    // An arena of 4 GiB has more bytes than a shift takes.
    this.#counts = new Uint16Array(memory.buffer.byteLength / 2 ** BLOCK_SHIFT);
  }

  use(address: number): void {
    const block = address >>> BLOCK_SHIFT;
    this.#counts[block] = this.#counts[block]! + 1;
  }

  release(address: number): void {
    const block = address >>> BLOCK_SHIFT;
    const count = this.#counts[block]!;
    assert(count > 0, 'what is released was in use');
    this.#counts[block] = count - 1;
    if (count > 1 || this.#waiting.size === 0) return;
    const free = this.#waiting.get(block);
    this.#waiting.delete(block);
    free?.();
  }

  isUsed(address: number): boolean {
    return this.#counts[address >>> BLOCK_SHIFT] !== 0;
  }

  /** Calls `then` once nothing uses the memory at `address`: now, mostly. One waits for an address at a time. */
  whenFree(address: number, then: () => void): void {
    if (!this.isUsed(address)) {
      then();
      return;
    }
    const block = address >>> BLOCK_SHIFT;
    assert(!this.#waiting.has(block), 'memory has one owner');
    this.#waiting.set(block, then);
  }
}
