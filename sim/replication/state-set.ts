/** Fingerprints of states: numbers of 53 bits, some ten million of them. */

const SIZE_MIN = 1 << 10;

export class StateSet {
  /** By a part of the number, and from there on; 0: free. */
  #slots = new Float64Array(SIZE_MIN);
  size = 0;

  /** Whether it was not there. */
  add(state: number): boolean {
    const value = state === 0 ? 1 : state;
    if (this.size * 2 > this.#slots.length) this.#grow();
    const at = this.#find(value);
    if (this.#slots[at] === value) return false;
    this.#slots[at] = value;
    this.size++;
    return true;
  }

  #find(value: number): number {
    const slots = this.#slots;
    let at = value % slots.length;
    while (slots[at] !== 0 && slots[at] !== value) at = (at + 1) % slots.length;
    return at;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Float64Array(before.length * 2);
    for (const value of before) if (value !== 0) this.#slots[this.#find(value)] = value;
  }
}
