/** Records of one kind in memory, where every creation or list looks at all of them: 10,000 take 40 ms to read from the store. */

import type { ClusterStore, TransactionResult, WatchEvent } from '../metadata/cluster-store.ts';

type Versioned<R> = { readonly record: R; readonly version: number };

type Kept<R> = {
  readonly byKey: Map<string, Versioned<R>>;
  /** What this process has deleted, with the revision of that, until the watch has told all before it. */
  readonly deleted: Map<string, number>;
  /** Up to here the watch has told everything. */
  revision: number;
  /** In order of key, once that was asked for. Those who were given the records keep them as they were. */
  sorted: { readonly keys: string[]; records: readonly R[] } | undefined;
};

/**
 * Reads them once, and follows a watch: other processes write too. It is also told of each transaction that this process commits, so that what
 * is read after it has it. The same change comes twice then, and the two sources are not in step: versions say what is newer.
 */
export class RecordIndex<R> {
  readonly #store: ClusterStore;
  readonly #prefix: string;
  readonly #recordOf: (value: R) => R;
  #kept: Promise<Kept<R>> | undefined;
  #watching = new AbortController();

  /** `prefix` of the keys, such as `volume/`; `recordOf`: the record of a value that is kept. */
  constructor(store: ClusterStore, prefix: string, recordOf: (value: R) => R) {
    this.#store = store;
    this.#prefix = prefix;
    this.#recordOf = recordOf;
  }

  /** In order of key. */
  async all(): Promise<readonly R[]> {
    const kept = await this.#read();
    if (kept.sorted === undefined) {
      const keys = [...kept.byKey.keys()].toSorted();
      kept.sorted = { keys, records: keys.map((key) => kept.byKey.get(key)!.record) };
    }
    return kept.sorted.records;
  }

  /** `name` is what follows the prefix in the key. */
  async get(name: string): Promise<R | undefined> {
    return (await this.getter())(name);
  }

  /** For many that are looked up at once. */
  async getter(): Promise<(name: string) => R | undefined> {
    const { byKey } = await this.#read();
    return (name) => byKey.get(this.#prefix + name)?.record;
  }

  #read(): Promise<Kept<R>> {
    if (this.#kept !== undefined) return this.#kept;
    const { signal } = this.#watching;
    const reading = this.#store.list(this.#prefix).then(({ entries, revision }): Kept<R> => {
      const versioned = entries.map(({ key, value, version }) => {
        return [key, { record: this.#recordOf(value as unknown as R), version }] as const;
      });
      return { byKey: new Map(versioned), deleted: new Map(), revision, sorted: undefined };
    });
    this.#kept = reading;
    void this.#follow(reading, signal);
    return reading;
  }

  /** Where history does not reach back so far, or the store does not answer, they are read anew. */
  async #follow(reading: Promise<Kept<R>>, signal: AbortSignal): Promise<void> {
    try {
      const kept = await reading;
      const events = this.#store.watch(this.#prefix, kept.revision, signal);
      for await (const event of events) this.#heard(kept, event);
    } catch {
      if (!signal.aborted) this.forget();
    }
  }

  #heard(kept: Kept<R>, event: WatchEvent): void {
    const { revision } = event;
    // Others of this revision may follow.
    kept.revision = revision - 1;
    for (const [key, version] of kept.deleted) {
      if (version < revision) kept.deleted.delete(key);
    }
    if (event.kind === 'put') this.#put(kept, event.entry);
    else this.#delete(kept, event.key, revision);
  }

  /** Reads them anew the next time, and follows them no longer until then. */
  forget(): void {
    this.#watching.abort();
    this.#watching = new AbortController();
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
    // What the watch has told includes it, and what came after.
    if (kept === undefined || revision <= kept.revision) return;
    const isMine = (key: string): boolean => key.startsWith(this.#prefix);
    for (const { key, value } of change.puts) {
      if (isMine(key)) this.#put(kept, { key, value, version: revision });
    }
    for (const key of change.deletes) {
      if (isMine(key)) this.#delete(kept, key, revision);
    }
  }

  /** The same with what another watch tells, which may be ahead of the one here. */
  async told(event: WatchEvent): Promise<void> {
    const change =
      event.kind === 'put'
        ? { puts: [event.entry], deletes: [] }
        : { puts: [], deletes: [event.key] };
    await this.committed({ kind: 'committed', revision: event.revision }, change);
  }

  #put(
    kept: Kept<R>,
    { key, value, version }: { key: string; value: unknown; version: number },
  ): void {
    if (version <= versionOf(kept, key)) return;
    const record = this.#recordOf(value as R);
    kept.byKey.set(key, { record, version });
    kept.deleted.delete(key);
    const { sorted } = kept;
    if (sorted === undefined) return;
    const { at, isThere } = placeOf(key, sorted.keys);
    if (isThere) sorted.records = sorted.records.with(at, record);
    else {
      sorted.keys.splice(at, 0, key);
      sorted.records = sorted.records.toSpliced(at, 0, record);
    }
  }

  #delete(kept: Kept<R>, key: string, revision: number): void {
    if (revision <= versionOf(kept, key)) return;
    kept.deleted.set(key, revision);
    const { sorted } = kept;
    if (!kept.byKey.delete(key) || sorted === undefined) return;
    const { at } = placeOf(key, sorted.keys);
    sorted.keys.splice(at, 1);
    sorted.records = sorted.records.toSpliced(at, 1);
  }
}

/** Where `key` is in `keys`, which are in order, or would be. */
function placeOf(
  key: string,
  keys: readonly string[],
): { readonly at: number; readonly isThere: boolean } {
  let at = 0;
  for (let end = keys.length; at < end;) {
    const middle = (at + end) >>> 1;
    if (keys[middle]! < key) at = middle + 1;
    else end = middle;
  }
  return { at, isThere: keys[at] === key };
}

const versionOf = (kept: Kept<unknown>, key: string): number =>
  kept.byKey.get(key)?.version ?? kept.deleted.get(key) ?? 0;
