/** What any node of the cluster changes in the records, as it happens. */

import type { JsonValue } from '../../metadata/cluster-store.ts';
import type { Log } from '../../model/log.ts';
import type { RecordsStore } from '../records-store.ts';

/** Between two tries to follow a store that is away. */
const RETRY_MS = 500;

/** `key` undefined: anything may have changed; `value` undefined: it is deleted. */
export type OnChange = (key: string | undefined, value?: JsonValue) => void;

export class RecordWatch {
  readonly #records: RecordsStore;
  readonly #log: Log;
  readonly #listeners = new Set<OnChange>();
  readonly #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(records: RecordsStore, log: Log) {
    this.#records = records;
    this.#log = log;
  }

  /** Calls `listener` at each change from now on, until the function that this returns is called. */
  onChange(listener: OnChange): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#running = this.#follow();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  /** Asks `find` now and after each change, until it finds something or `forMs` passed: undefined then. */
  async until<T>(find: () => Promise<T | undefined>, forMs: number): Promise<T | undefined> {
    const deadline = performance.now() + forMs;
    for (;;) {
      // A change between the question and the wait must not be missed.
      let isChanged = false;
      let wake: (() => void) | undefined;
      const forget = this.onChange(() => {
        isChanged = true;
        wake?.();
      });
      try {
        const found = await find();
        const leftMs = deadline - performance.now();
        if (found !== undefined || leftMs <= 0) return found;
        if (isChanged) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, leftMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      } finally {
        forget();
      }
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const revision = await this.#records.revision();
        this.#tell(undefined);
        for await (const event of this.#records.watch(revision, signal)) {
          if (event.kind === 'put') this.#tell(event.entry.key, event.entry.value);
          else this.#tell(event.key);
        }
      } catch (error) {
        this.#log('control.watch_lost', { error: String(error) });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #tell(key: string | undefined, value?: JsonValue): void {
    for (const listener of this.#listeners) listener(key, value);
  }
}
