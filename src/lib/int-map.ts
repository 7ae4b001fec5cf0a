import { assert } from './assert.ts';

const EMPTY = -1;

/**
 * A map from non-negative 31-bit integers to integers in typed arrays: open addressing, linear probing, deletion by backward
 * shift. Allocates nothing after construction; holds at most half as many entries as it has places.
 */
export class IntMap {
  readonly #keys: Int32Array;
  readonly #values: Int32Array;
  readonly #mask: number;
  #size = 0;

  /** `capacity`: entries it must hold. */
  constructor(capacity: number) {
    let places = 16;
    while (places < capacity * 2) places *= 2;
    this.#keys = new Int32Array(places).fill(EMPTY);
    this.#values = new Int32Array(places);
    this.#mask = places - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The value of `key`, or -1. Values are non-negative. */
  get(key: number): number {
    for (let at = place(key) & this.#mask; ; at = (at + 1) & this.#mask) {
      const found = this.#keys[at];
      if (found === key) return this.#values[at] ?? EMPTY;
      if (found === EMPTY) return EMPTY;
    }
  }

  set(key: number, value: number): void {
    for (let at = place(key) & this.#mask; ; at = (at + 1) & this.#mask) {
      const found = this.#keys[at];
      if (found !== key && found !== EMPTY) continue;
      if (found === EMPTY) {
        this.#size++;
        assert(this.#size * 2 <= this.#keys.length, 'an IntMap is at most half full');
      }
      this.#keys[at] = key;
      this.#values[at] = value;
      return;
    }
  }

  delete(key: number): void {
    let at = place(key) & this.#mask;
    while (this.#keys[at] !== key) {
      if (this.#keys[at] === EMPTY) return;
      at = (at + 1) & this.#mask;
    }
    this.#size--;
    // Entries behind the hole move up unless that would put them before their own place.
    for (let next = (at + 1) & this.#mask; ; next = (next + 1) & this.#mask) {
      const moved = this.#keys[next] ?? EMPTY;
      if (moved === EMPTY) break;
      const home = place(moved) & this.#mask;
      if (((next - home) & this.#mask) >= ((next - at) & this.#mask)) {
        this.#keys[at] = moved;
        this.#values[at] = this.#values[next] ?? 0;
        at = next;
      }
    }
    this.#keys[at] = EMPTY;
  }
}

function place(key: number): number {
  return (Math.imul(key, 0x9e3779b1) >>> 7) | 0;
}
