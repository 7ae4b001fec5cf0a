/**
 * A seeded generator of uniform integers, for simulation, fuzzing and workloads: never for secrets. xoshiro128**
 * (Blackman, Vigna 2018) seeded by splitmix32, so that neighbouring seeds give unrelated sequences.
 */

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** `seed`: any safe integer. */
  constructor(seed: number) {
    let state = (seed ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1)) >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let x = state ^ (state >>> 16);
      x = Math.imul(x, 0x21f0aaad);
      x ^= x >>> 15;
      x = Math.imul(x, 0x735a2d97);
      return x ^ (x >>> 15);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next() | 1;
  }

  /** A uniform integer in [0, 2^32). */
  next(): number {
    const b5 = Math.imul(this.#b, 5);
    const result = Math.imul((b5 << 7) | (b5 >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** An integer in [0, bound), 1 <= bound <= 2^32; its bias is below bound / 2^32. */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound);
  }

  /** True with a probability of `percent` / 100. */
  chance(percent: number): boolean {
    return this.next() < (percent / 100) * 2 ** 32;
  }

  /** One element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    const element = list[this.below(list.length)];
    if (element === undefined) throw new RangeError('pick takes a list without holes');
    return element;
  }

  /** Fresh bytes that the caller owns. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next() & 0xff);
  }
}
