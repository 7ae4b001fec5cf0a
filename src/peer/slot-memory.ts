/**
 * The memory of one end's slots (docs/peer-protocol.md, "Slots"). A frame lies in its slot as it is sent, its header right before
 * its body; a body has the alignment in its block that the drive wants.
 *
 *     | room for the header, at its end | body: 16 or 256 KiB, and a block for its alignment |
 */

import type { Arena } from '../lib/arena.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { BODY_BYTES_MAX, HEADER_BYTES } from './frame.ts';

/** The slots of version 1: 128 for what is small, and depth 16 of the largest requests. 7.1 MiB, touched as far as it is used at once. */
const SMALL_COUNT = 128;
const LARGE_COUNT = 16;
export const SMALL_BYTES = 16_384;
export const SLOT_COUNT: number = SMALL_COUNT + LARGE_COUNT;

const SMALL_STRIDE = 2 * BLOCK_BYTES + SMALL_BYTES;
const LARGE_STRIDE: number = 2 * BLOCK_BYTES + BODY_BYTES_MAX;
/** What slots take from the arena. */
export const SLOT_MEMORY_BYTES: number = SMALL_COUNT * SMALL_STRIDE + LARGE_COUNT * LARGE_STRIDE;

export class SlotMemory {
  readonly #smallAddress: number;
  readonly #largeAddress: number;

  constructor(arena: Arena) {
    this.#smallAddress = arena.reserve(SMALL_COUNT * SMALL_STRIDE, BLOCK_BYTES);
    this.#largeAddress = arena.reserve(LARGE_COUNT * LARGE_STRIDE, BLOCK_BYTES);
  }

  /** Where the body is of what is at `offsetBytes` of the volume. */
  bodyAddress(slot: number, offsetBytes: number): number {
    const address =
      slot < SMALL_COUNT
        ? this.#smallAddress + slot * SMALL_STRIDE
        : this.#largeAddress + (slot - SMALL_COUNT) * LARGE_STRIDE;
    return address + BLOCK_BYTES + (offsetBytes % BLOCK_BYTES);
  }

  /** Where the frame begins whose body is at {@link bodyAddress}. */
  frameAddress(slot: number, offsetBytes: number): number {
    return this.bodyAddress(slot, offsetBytes) - HEADER_BYTES;
  }
}

/** Bytes of body that a slot holds. */
export function slotBytes(slot: number): number {
  return slot < SMALL_COUNT ? SMALL_BYTES : BODY_BYTES_MAX;
}

/** The slots of a dialling end that are free: a stack for each size, so that the memory in use stays small. */
export class FreeSlots {
  readonly #small: number[] = [];
  readonly #large: number[] = [];

  constructor() {
    for (let slot = SLOT_COUNT - 1; slot >= 0; slot -= 1) this.give(slot);
  }

  /** A slot for `bodyBytes`; undefined: none is free. */
  take(bodyBytes: number): number | undefined {
    return bodyBytes <= SMALL_BYTES ? this.#small.pop() : this.#large.pop();
  }

  give(slot: number): void {
    (slot < SMALL_COUNT ? this.#small : this.#large).push(slot);
  }
}
