/** The arena of a simulated process, as operations see it: a range outside of it is a bug and throws (rule 7 of Io). */

import { assert } from '../src/lib/assert.ts';
import { SEGMENT_COUNT_MAX } from '../src/env/io.ts';

export class SimMemory {
  readonly bytes: Uint8Array;

  constructor(memory: WebAssembly.Memory) {
    this.bytes = new Uint8Array(memory.buffer);
  }

  view(address = -1, lengthBytes = -1): Uint8Array {
    const inside = address >= 0 && lengthBytes >= 0 && address + lengthBytes <= this.bytes.length;
    assert(inside, `${address} and ${lengthBytes} bytes lie in the arena`);
    return this.bytes.subarray(address, address + lengthBytes);
  }

  /** The segments of a vectored operation: (address, lengthBytes) pairs from element `2 * first`. */
  views(segments: Uint32Array, first: number, count: number): Uint8Array[] {
    assert(count >= 1 && count <= SEGMENT_COUNT_MAX, 'a vectored operation has 1 to 256 segments');
    return Array.from({ length: count }, (_, i) =>
      this.view(segments[2 * (first + i)], segments[2 * (first + i) + 1]),
    );
  }
}
