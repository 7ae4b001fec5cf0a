/** Records as control has them, in a store of their own in memory. */

import type { ControlParts } from '../../src/control/parts.ts';
import { ProgressBoard } from '../../src/control/progress.ts';
import { RecordsStore } from '../../src/control/records-store.ts';
import { Turnstile } from '../../src/lib/turnstile.ts';
import { SqliteStore } from '../../src/metadata/sqlite-store.ts';
import type { JsonObject } from '../../src/wire/line-protocol.ts';

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

/** What node a needs to change drives, whose engine is `call`. Its ids are new-1, new-2, and so on. */
export function drivePartsOf(
  directory: string,
  records: RecordsStore,
  call: (name: string, args: JsonObject) => Promise<JsonObject>,
): ControlParts {
  let nextId = 1;
  // The rest of them is not used there.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return {
    installation: { directory },
    records,
    engine: { call },
    node: 'a',
    turnstile: new Turnstile(),
    progress: new ProgressBoard(),
    wallMs: () => 0,
    newId: () => `new-${nextId++}`,
    askReconcile: () => undefined,
    onStep: () => undefined,
    log: () => undefined,
  } as unknown as ControlParts;
}
