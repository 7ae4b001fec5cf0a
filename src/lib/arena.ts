/**
 * Hands out pieces of an Io's memory. A bump allocator: what is reserved stays reserved for the life of the process,
 * so that an address can never name another owner's bytes (docs/memory-safety.md).
 */

import { assert } from './assert.ts';

/** The first bytes are never handed out, so that address 0 is always a mistake. */
const ARENA_START_BYTES = 4096;

export class Arena {
  readonly memory: WebAssembly.Memory;
  /** The whole memory as bytes. Never detached: an Io's memory does not grow. */
  readonly u8: Uint8Array;
  /** The whole memory as 32-bit words, in the machine's byte order. */
  readonly u32: Uint32Array;
  /** The whole memory, for big-endian fields and unaligned access. */
  readonly view: DataView;
  #usedBytes = ARENA_START_BYTES;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.u8 = new Uint8Array(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
  }

  get sizeBytes(): number {
    return this.u8.length;
  }

  /** Bytes handed out so far, with what alignment cost. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /**
   * Reserves `bytes` bytes whose address is a multiple of `align` (a power of two), for good. Not enough memory left is a
   * bug: whoever sizes the memory adds up its users.
   */
  reserve(bytes: number, align: number): number {
    assert(Number.isSafeInteger(bytes) && bytes > 0, 'a reservation has a size');
    assert(align > 0 && (align & (align - 1)) === 0, 'an alignment is a power of two');
    const address = Math.ceil(this.#usedBytes / align) * align;
    assert(
      address + bytes <= this.sizeBytes,
      `the arena of ${this.sizeBytes} bytes has room for ${bytes} more after ${this.#usedBytes}`,
    );
    this.#usedBytes = address + bytes;
    return address;
  }
}
