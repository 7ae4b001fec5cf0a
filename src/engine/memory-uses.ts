/**
 * What requests to replicas still read or write. A client's request may be over before those are, when a replica was given up; its memory
 * is handed out again only after them (docs/memory-safety.md).
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';

export class MemoryUses {
  /** By block of the arena: the first block of the piece that it belongs to. Untouched pages of these cost nothing. */
  readonly #pieces: Uint32Array;
  /** By first block of a piece: how many requests use some of it. */
  readonly #counts: Uint16Array;
  readonly #waiting = new Map<number, () => void>();

  constructor(memory: WebAssembly.Memory) {
    const blockCount = memory.buffer.byteLength / BLOCK_BYTES;
    this.#pieces = new Uint32Array(blockCount);
    this.#counts = new Uint16Array(blockCount);
  }

  /** Makes whole blocks one piece, for good: who uses a part of it uses all. What is read or written through links is such a piece. */
  addPiece(address: number, lengthBytes: number): void {
    const first = address / BLOCK_BYTES;
    this.#pieces.fill(first, first, first + lengthBytes / BLOCK_BYTES);
  }

  use(address: number): void {
    const piece = this.#pieceOf(address);
    assert(piece > 0, 'what a link reads or writes is of a piece');
    this.#counts[piece] = this.#counts[piece]! + 1;
  }

  release(address: number): void {
    const piece = this.#pieceOf(address);
    const count = this.#counts[piece]!;
    assert(count > 0, 'what is released was in use');
    this.#counts[piece] = count - 1;
    if (count > 1 || this.#waiting.size === 0) return;
    const free = this.#waiting.get(piece);
    this.#waiting.delete(piece);
    free?.();
  }

  isUsed(address: number): boolean {
    return this.#counts[this.#pieceOf(address)] !== 0;
  }

  /** Calls `then` once nothing uses the piece with this address: now, mostly. One waits for a piece at a time. */
  whenFree(address: number, then: () => void): void {
    if (!this.isUsed(address)) {
      then();
      return;
    }
    const piece = this.#pieceOf(address);
    assert(!this.#waiting.has(piece), 'memory has one owner');
    this.#waiting.set(piece, then);
  }

  #pieceOf(address: number): number {
    return this.#pieces[Math.floor(address / BLOCK_BYTES)]!;
  }
}
