/** Lets tasks of one key through one after the other, in the order in which they came. Cold paths only. */

export class Turnstile {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `task` after all earlier ones of `key`; settles as it does. */
  async enter<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const result = before.then(task);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    try {
      return await result;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}
