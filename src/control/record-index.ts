/** Records of one kind in memory, where every creation or list looks at all of them: 10,000 take 40 ms to read from the store. */

import type { ClusterStore, TransactionResult } from '../metadata/cluster-store.ts';

/**
 * Reads them once, and is told of each transaction that this process commits: no other one writes to the store. What is told is older
 * than what was read, or newer; the version says which.
 */
export class RecordIndex<R> {
  readonly #store: ClusterStore;
  readonly #prefix: string;
  readonly #recordOf: (value: R) => R;
  #kept: Promise<Map<string, { readonly record: R; readonly version: number }>> | undefined;
  #sorted: readonly R[] | undefined;

  /** `prefix` of the keys, such as `volume/`; `recordOf`: the record of a value that is kept. */
  constructor(store: ClusterStore, prefix: string, recordOf: (value: R) => R) {
    this.#store = store;
    this.#prefix = prefix;
    this.#recordOf = recordOf;
  }

  /** In order of key. */
  async all(): Promise<readonly R[]> {
    const kept = await (this.#kept ??= this.#read());
    this.#sorted ??= [...kept]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { record }]) => record);
    return this.#sorted;
  }

  /** `name` is what follows the prefix in the key. */
  async get(name: string): Promise<R | undefined> {
    const kept = await (this.#kept ??= this.#read());
    return kept.get(this.#prefix + name)?.record;
  }

  async #read(): Promise<Map<string, { readonly record: R; readonly version: number }>> {
    const { entries } = await this.#store.list(this.#prefix);
    return new Map(
      entries.map(({ key, value, version }) => [
        key,
        { record: this.#recordOf(value as unknown as R), version },
      ]),
    );
  }

  /** Takes in what a transaction has put and deleted. To be called for each one, in the order in which they were committed. */
  async committed(
    { revision }: TransactionResult & { readonly kind: 'committed' },
    change: {
      readonly puts: readonly { readonly key: string; readonly value: unknown }[];
      readonly deletes: readonly string[];
    },
  ): Promise<void> {
    const kept = await this.#kept;
    if (kept === undefined) return;
    const isMine = (key: string): boolean =>
      key.startsWith(this.#prefix) && (kept.get(key)?.version ?? 0) < revision;
    for (const { key, value } of change.puts) {
      if (!isMine(key)) continue;
      kept.set(key, { record: this.#recordOf(value as R), version: revision });
      this.#sorted = undefined;
    }
    for (const key of change.deletes) {
      if (isMine(key) && kept.delete(key)) this.#sorted = undefined;
    }
  }
}
