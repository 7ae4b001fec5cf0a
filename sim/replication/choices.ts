/** A sequence of choices that is tried in all its forms, in order: each run of a history asks for its choices, and the next run differs in one. */

export class Choices {
  /** What was chosen, and from how many. */
  readonly #taken: { chosen: number; readonly count: number }[] = [];
  #at = 0;

  /** Goes on where {@link toString} was called; the run that it is from is the next one again. */
  static parse(text: string): Choices {
    const choices = new Choices();
    for (const pair of text.split(' ').filter((each) => each !== '')) {
      const [chosen = 0, count = 1] = pair.split('/').map(Number);
      choices.#taken.push({ chosen, count });
    }
    return choices;
  }

  /** Whether the next choice is one that an earlier run made. */
  get isRepeated(): boolean {
    return this.#at < this.#taken.length;
  }

  /** A number below `count`: 0 where nothing was chosen yet. */
  choose(count: number): number {
    if (count <= 1) return 0;
    const taken = this.#taken[this.#at];
    this.#at++;
    if (taken !== undefined) return taken.chosen;
    this.#taken.push({ chosen: 0, count });
    return 0;
  }

  /** Makes the next run another one; false: all were tried. */
  advance(): boolean {
    this.#at = 0;
    for (let last = this.#taken.pop(); last !== undefined; last = this.#taken.pop()) {
      if (last.chosen + 1 >= last.count) continue;
      this.#taken.push({ chosen: last.chosen + 1, count: last.count });
      return true;
    }
    return false;
  }

  /** Position of the first choice that is not 0, of this run; -1: there is none. Later runs have it in the same place or in one before. */
  get firstChosen(): number {
    return this.#taken.findIndex(({ chosen }) => chosen > 0);
  }

  toString(): string {
    return this.#taken.map(({ chosen, count }) => `${chosen}/${count}`).join(' ');
  }
}
