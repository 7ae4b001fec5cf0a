/** The ports of a simulated process, and what is in flight on each. */

import { assert } from '../src/lib/assert.ts';
import { INDEX_LIMIT, PORT_COUNT_MAX, type OnCompletion, type Port } from '../src/env/io.ts';

export class SimPorts {
  readonly #ports: OnCompletion[] = [];
  /** By {@link keyOf}, everything in flight: rule 3 of Io. */
  readonly #inFlight = new Set<number>();

  open(onCompletion: OnCompletion): Port {
    assert(this.#ports.length < PORT_COUNT_MAX, 'there are at most 255 ports');
    this.#ports.push(onCompletion);
    // Branded numbers are made here only.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return (this.#ports.length - 1) as Port;
  }

  /** Counts an operation in and returns what delivers its result. */
  admit(port: Port, index: number): (result: number) => void {
    assert(index >= 0 && index < INDEX_LIMIT, 'an index has 24 bits');
    const key = keyOf(port, index);
    assert(
      !this.#inFlight.has(key),
      `port ${port} has one operation in flight per index: ${index}`,
    );
    this.#inFlight.add(key);
    return (result) => {
      this.#inFlight.delete(key);
      this.#ports[port]?.(index, result);
    };
  }
}

/** One number for a port's index. */
export function keyOf(port: Port, index: number): number {
  return port * INDEX_LIMIT + index;
}
