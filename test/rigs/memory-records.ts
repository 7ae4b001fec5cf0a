/** Records as control has them, in a store of their own in memory. */

import { RecordsStore } from '../../src/control/records-store.ts';
import { SqliteStore } from '../../src/metadata/sqlite-store.ts';

/** Of node a of a cluster. Whoever needs the store closes it. */
export function memoryRecords(): { readonly store: SqliteStore; readonly records: RecordsStore } {
  const store = new SqliteStore({
    path: ':memory:',
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => 'lease',
  });
  return { store, records: new RecordsStore(store, '/', 'a') };
}
