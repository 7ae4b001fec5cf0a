/** Counts what one volume's clients asked for since the engine started: operations, bytes, errors, and how long each took. */

/** A client's request of up to 256 KiB is one operation; of a longer one each piece is. */
export const OPERATION_KINDS = ['read', 'write', 'flush', 'trim', 'zero'] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** Latencies below 2^(FIRST_BITS + n) µs are in bucket n or an earlier one; the last has all that took longer. */
const FIRST_BITS = 4;
export const LATENCY_BUCKET_COUNT = 20;

/** The upper bound of a latency bucket in µs; Infinity for the last. */
export function bucketBoundUs(bucket: number): number {
  return bucket === LATENCY_BUCKET_COUNT - 1 ? Infinity : 2 ** (FIRST_BITS + bucket);
}

export type OperationCounts = {
  readonly count: number;
  readonly bytes: number;
  readonly errors: number;
  /** Sum of all latencies. */
  readonly us: number;
  /** By bucket: not cumulative. */
  readonly latency: readonly number[];
};

export class Meter {
  readonly #counts = new Float64Array(OPERATION_KINDS.length);
  readonly #bytes = new Float64Array(OPERATION_KINDS.length);
  readonly #errors = new Float64Array(OPERATION_KINDS.length);
  readonly #us = new Float64Array(OPERATION_KINDS.length);
  readonly #latency = new Float64Array(OPERATION_KINDS.length * LATENCY_BUCKET_COUNT);
  /** Operations that were begun and are not over. */
  inFlight = 0;

  /** An operation of OPERATION_KINDS[`kind`] is over. */
  done(kind: number, lengthBytes: number, us: number, errno: number): void {
    this.inFlight -= 1;
    this.#counts[kind]! += 1;
    this.#us[kind]! += us;
    if (errno === 0) this.#bytes[kind]! += lengthBytes;
    else this.#errors[kind]! += 1;
    const known = Math.min(us, 2 ** 31);
    const bucket = Math.min(LATENCY_BUCKET_COUNT - 1, 32 - Math.clz32(known >>> FIRST_BITS));
    this.#latency[kind * LATENCY_BUCKET_COUNT + bucket]! += 1;
  }

  /** Operations that changed the volume, or tried to. */
  get changeCount(): number {
    const [, writes = 0, , trims = 0, zeros = 0] = this.#counts;
    return writes + trims + zeros;
  }

  counts(kind: OperationKind): OperationCounts {
    const at = OPERATION_KINDS.indexOf(kind);
    const first = at * LATENCY_BUCKET_COUNT;
    return {
      count: this.#counts[at]!,
      bytes: this.#bytes[at]!,
      errors: this.#errors[at]!,
      us: this.#us[at]!,
      latency: [...this.#latency.subarray(first, first + LATENCY_BUCKET_COUNT)],
    };
  }
}
