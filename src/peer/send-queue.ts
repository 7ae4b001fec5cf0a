/** Frames on their way to a socket, in order. Many go in one vectored send. */

import { assert } from '../lib/assert.ts';
import { SLOT_COUNT } from './slot-memory.ts';

/** Segments of one send: more than a socket takes at once. */
const SEGMENTS_MAX = 64;
/** One frame for each slot; and prelude, hello or welcome, and rekey. */
const CAPACITY: number = SLOT_COUNT + 4;

export class SendQueue {
  /** What {@link gather} listed. */
  readonly segments = new Uint32Array(2 * SEGMENTS_MAX);
  /** The slots of what {@link consume} found sent to its end. */
  readonly sent = new Int16Array(CAPACITY);
  readonly #address = new Uint32Array(CAPACITY);
  readonly #bytes = new Uint32Array(CAPACITY);
  readonly #slot = new Int16Array(CAPACITY);
  #first = 0;
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  push(address: number, lengthBytes: number, slot: number): void {
    assert(this.#count < CAPACITY, 'a slot has one frame to send');
    const at = (this.#first + this.#count) % CAPACITY;
    this.#address[at] = address;
    this.#bytes[at] = lengthBytes;
    this.#slot[at] = slot;
    this.#count += 1;
  }

  /** Lists the first ones; returns how many. */
  gather(): number {
    const count = Math.min(this.#count, SEGMENTS_MAX);
    for (let index = 0; index < count; index += 1) {
      const at = (this.#first + index) % CAPACITY;
      this.segments[2 * index] = this.#address[at]!;
      this.segments[2 * index + 1] = this.#bytes[at]!;
    }
    return count;
  }

  /** Takes what was sent off the front; returns how many are sent to their end: {@link sent} has them until the next call. */
  consume(sentBytes: number): number {
    let count = 0;
    for (let left = sentBytes; left > 0;) {
      const at = this.#first;
      const lengthBytes = this.#bytes[at]!;
      if (left < lengthBytes) {
        this.#address[at] = this.#address[at]! + left;
        this.#bytes[at] = lengthBytes - left;
        break;
      }
      left -= lengthBytes;
      this.sent[count++] = this.#slot[at]!;
      this.#first = (at + 1) % CAPACITY;
      this.#count -= 1;
    }
    return count;
  }
}
