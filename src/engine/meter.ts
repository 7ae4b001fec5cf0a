/** Counts what one volume's clients asked for since the engine started: operations, bytes, errors, and how long each took. */

import { BUCKET_COUNT, type Durations, bucketOf } from '../lib/histogram.ts';

/** A client's request of up to 256 KiB is one operation; of a longer one each piece is. */
export const OPERATION_KINDS = ['read', 'write', 'flush', 'trim', 'zero'] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

export type OperationCounts = Durations & { readonly bytes: number; readonly errors: number };

export class Meter {
  readonly #counts = new Float64Array(OPERATION_KINDS.length);
  readonly #bytes = new Float64Array(OPERATION_KINDS.length);
  readonly #errors = new Float64Array(OPERATION_KINDS.length);
  readonly #us = new Float64Array(OPERATION_KINDS.length);
  readonly #latency = new Float64Array(OPERATION_KINDS.length * BUCKET_COUNT);
  /** Operations that were begun and are not over. */
  inFlight = 0;

  /** An operation of OPERATION_KINDS[`kind`] is over. */
  done(kind: number, lengthBytes: number, us: number, errno: number): void {
    this.inFlight -= 1;
    this.#counts[kind]! += 1;
    this.#us[kind]! += us;
    if (errno === 0) this.#bytes[kind]! += lengthBytes;
    else this.#errors[kind]! += 1;
    this.#latency[kind * BUCKET_COUNT + bucketOf(us)]! += 1;
  }

  /** Operations that changed the volume, or tried to. */
  get changeCount(): number {
    const [, writes = 0, , trims = 0, zeros = 0] = this.#counts;
    return writes + trims + zeros;
  }

  /** Operations that clients got an error for. */
  get errorCount(): number {
    return this.#errors.reduce((sum, each) => sum + each, 0);
  }

  counts(kind: OperationKind): OperationCounts {
    const at = OPERATION_KINDS.indexOf(kind);
    const first = at * BUCKET_COUNT;
    return {
      count: this.#counts[at]!,
      bytes: this.#bytes[at]!,
      errors: this.#errors[at]!,
      us: this.#us[at]!,
      latency: [...this.#latency.subarray(first, first + BUCKET_COUNT)],
    };
  }
}
