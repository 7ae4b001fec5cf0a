/** Latencies by the million: counted in buckets half a percent wide, so that minutes can be added up. */

/** Buckets for each doubling: 2 ** (1 / 128) is 1.0054. */
const BUCKETS_PER_DOUBLING = 128;

export class LatencyHistogram {
  readonly #counts: number[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(valueNs: number): void {
    const bucket = Math.round(Math.log2(Math.max(1, valueNs)) * BUCKETS_PER_DOUBLING);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count++;
  }

  merge(other: LatencyHistogram): void {
    for (const [bucket, count] of other.#counts.entries()) {
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + (count ?? 0);
    }
    this.#count += other.#count;
  }

  /** What `percent` of the values do not exceed, within half a percent, in microseconds. Infinity for none. */
  percentileUs(percent: number): number {
    const wanted = (this.#count * percent) / 100;
    let seen = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count ?? 0;
      if (seen > 0 && seen >= wanted) return 2 ** (bucket / BUCKETS_PER_DOUBLING) / 1000;
    }
    return Infinity;
  }
}
