/**
 * Hands out pieces of an Io's memory. A bump allocator: what is reserved stays reserved, so that an address can never name
 * another owner's bytes (docs/memory-safety.md). Only a part made for one user, and given back whole, is used again.
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
  readonly #startAddress: number;
  readonly #endAddress: number;
  #nextAddress: number;

  /** Over all of `memory`, or over the range that {@link Arena.part} reserved. */
  constructor(
    memory: WebAssembly.Memory,
    range?: { readonly startAddress: number; readonly endAddress: number },
  ) {
    this.memory = memory;
    this.u8 = new Uint8Array(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.#startAddress = range?.startAddress ?? ARENA_START_BYTES;
    this.#endAddress = range?.endAddress ?? memory.buffer.byteLength;
    this.#nextAddress = this.#startAddress;
  }

  get sizeBytes(): number {
    return this.#endAddress - this.#startAddress;
  }

  /** Bytes handed out so far, with what alignment cost. */
  get usedBytes(): number {
    return this.#nextAddress - this.#startAddress;
  }

  /**
   * Reserves `bytes` bytes whose address is a multiple of `align` (a power of two). Not enough memory left is a
   * bug: whoever sizes the memory adds up its users.
   */
  reserve(bytes: number, align: number): number {
    assert(Number.isSafeInteger(bytes) && bytes > 0, 'a reservation has a size');
    assert(align > 0 && (align & (align - 1)) === 0, 'an alignment is a power of two');
    const address = Math.ceil(this.#nextAddress / align) * align;
    assert(
      address + bytes <= this.#endAddress,
      `the arena of ${this.sizeBytes} bytes has room for ${bytes} more after ${this.usedBytes}`,
    );
    this.#nextAddress = address + bytes;
    return address;
  }

  /** Reserves a range, page-aligned, as an arena of its own for one user. */
  part(bytes: number): Arena {
    const startAddress = this.reserve(bytes, ARENA_START_BYTES);
    return new Arena(this.memory, { startAddress, endAddress: startAddress + bytes });
  }

  /** Takes back all that was reserved. Its one user is gone, and no operation names its bytes any more. */
  reset(): void {
    this.#nextAddress = this.#startAddress;
  }
}
