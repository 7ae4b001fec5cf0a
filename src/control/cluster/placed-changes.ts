/**
 * Which changes of records repairs have to look at: in a large cluster a look takes a fifth of a second, and most changes are attachments,
 * which move no replica.
 */

import type { JsonValue } from '../../metadata/cluster-store.ts';

type Fields = { readonly [name: string]: JsonValue | undefined };

/** What placement sees of a record, by the kind of its key. */
const SEEN: { readonly [kind: string]: (record: Fields) => unknown } = {
  node: (record) => record,
  alive: ({ node }) => [node],
  drive: (record) => record,
  'drive-use': ({ state }) => [state],
  replica: ({ drive, state, error, isNew, isDue, leaving }) => [
    drive,
    state,
    error,
    isNew,
    isDue,
    leaving,
  ],
  set: ({ members, minimum }) => [members, minimum],
  volume: ({ id, state, sizeBytes, replication }) => [id, state, sizeBytes, replication],
  trash: ({ state }) => [state],
};

export class PlacedChanges {
  /** Of records that have changed, as JSON. */
  readonly #seen = new Map<string, string>();

  /** Whether placement sees a record otherwise than when it was told of last. Of one that it was not told of before it does. */
  isNews(key: string, value: JsonValue | undefined): boolean {
    const see = SEEN[key.slice(0, key.indexOf('/'))];
    if (see === undefined) return false;
    if (value === undefined) {
      this.#seen.delete(key);
      return true;
    }
    const seen = JSON.stringify(see(value as Fields));
    if (this.#seen.get(key) === seen) return false;
    this.#seen.set(key, seen);
    return true;
  }
}
