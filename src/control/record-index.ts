/** Records of one kind in memory, where every creation or list looks at all of them: 10,000 take 40 ms to read from the store. */

import type { ClusterStore, TransactionResult } from '../metadata/cluster-store.ts';

type Kept<R> = {
  readonly byKey: Map<string, { readonly record: R; readonly version: number }>;
  /** In order of key, once that was asked for. */
  sorted: readonly R[] | undefined;
};

/**
 * Reads them once, and is told of each transaction that this process commits: no other one writes to the store. What is told is older
 * than what was read, or newer; the version says which.
 */
export class RecordIndex<R> {
  readonly #store: ClusterStore;
  readonly #prefix: string;
  readonly #recordOf: (value: R) => R;
  #kept: Promise<Kept<R>> | undefined;

  /** `prefix` of the keys, such as `volume/`; `recordOf`: the record of a value that is kept. */
  constructor(store: ClusterStore, prefix: string, recordOf: (value: R) => R) {
    this.#store = store;
    this.#prefix = prefix;
    this.#recordOf = recordOf;
  }

  /** In order of key. */
  async all(): Promise<readonly R[]> {
    const kept = await this.#read();
    kept.sorted ??= [...kept.byKey]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { record }]) => record);
    return kept.sorted;
  }

  /** `name` is what follows the prefix in the key. */
  async get(name: string): Promise<R | undefined> {
    return (await this.#read()).byKey.get(this.#prefix + name)?.record;
  }

  #read(): Promise<Kept<R>> {
    if (this.#kept !== undefined) return this.#kept;
    const reading = this.#store.list(this.#prefix).then(({ entries }) => ({
      byKey: new Map(
        entries.map(({ key, value, version }) => [
          key,
          { record: this.#recordOf(value as unknown as R), version },
        ]),
      ),
      sorted: undefined,
    }));
    this.#kept = reading;
    reading.catch(() => {
      if (this.#kept === reading) this.#kept = undefined;
    });
    return reading;
  }

  /** Reads them anew the next time. */
  forget(): void {
    this.#kept = undefined;
  }

  /** Takes in what a transaction has put and deleted. To be called for each one, in the order in which they were committed. */
  async committed(
    { revision }: TransactionResult & { readonly kind: 'committed' },
    change: {
      readonly puts: readonly { readonly key: string; readonly value: unknown }[];
      readonly deletes: readonly string[];
    },
  ): Promise<void> {
    const kept = await this.#kept?.catch(() => undefined);
    if (kept === undefined) return;
    const { byKey } = kept;
    const isMine = (key: string): boolean =>
      key.startsWith(this.#prefix) && (byKey.get(key)?.version ?? 0) < revision;
    for (const { key, value } of change.puts) {
      if (!isMine(key)) continue;
      byKey.set(key, { record: this.#recordOf(value as R), version: revision });
      kept.sorted = undefined;
    }
    for (const key of change.deletes) {
      if (isMine(key) && byKey.delete(key)) kept.sorted = undefined;
    }
  }
}
