/** Durations in buckets of powers of two, from 16 µs to 4 s: what Prometheus makes quantiles of. */

/** Durations below 2^(FIRST_BITS + n) µs are in bucket n or an earlier one; the last has all that took longer. */
const FIRST_BITS = 4;
export const BUCKET_COUNT = 20;

/** The upper bound of a bucket in µs; Infinity for the last. */
export function bucketBoundUs(bucket: number): number {
  return bucket === BUCKET_COUNT - 1 ? Infinity : 2 ** (FIRST_BITS + bucket);
}

/** The bucket of a duration. */
export function bucketOf(us: number): number {
  const known = Math.min(us, 2 ** 31);
  return Math.min(BUCKET_COUNT - 1, 32 - Math.clz32(known >>> FIRST_BITS));
}

export type Durations = {
  readonly count: number;
  /** Sum of all. */
  readonly us: number;
  /** By bucket: not cumulative. */
  readonly latency: readonly number[];
};

export class Histogram {
  readonly #buckets = new Float64Array(BUCKET_COUNT);
  #count = 0;
  #us = 0;

  add(us: number): void {
    this.#count += 1;
    this.#us += us;
    this.#buckets[bucketOf(us)]! += 1;
  }

  durations(): Durations {
    return { count: this.#count, us: Math.round(this.#us), latency: [...this.#buckets] };
  }
}
