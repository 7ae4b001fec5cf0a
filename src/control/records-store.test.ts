import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SqliteStore } from '../metadata/sqlite-store.ts';
import type { OperationRecord } from '../model/records.ts';
import { RecordsStore } from './records-store.ts';

/** As many as are kept, and as many as come until the oldest are dropped. */
const OPERATIONS_MAX = 600;

const operation = (n: number, state: OperationRecord['state']): OperationRecord => ({
  id: `id-${n}`,
  kind: 'volume.create',
  target: `volume/v${n}`,
  state,
  startedAtMs: n,
  endedAtMs: state === 'running' ? undefined : n,
  error: undefined,
});

test('the oldest operations that ended are dropped as others end, and those that run never', async (t) => {
  const store = new SqliteStore({
    path: ':memory:',
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => '',
  });
  t.after(() => store.close());
  const records = new RecordsStore(store, '/data');
  const running = operation(0, 'running');
  await records.change({ puts: [{ key: `operation/${running.id}`, record: running }] });
  for (let n = 1; n <= 1000; n++) {
    await records.putEnded(operation(n, 'done'));
    if (n % 50 === 0) assert.ok((await records.operations()).length <= OPERATIONS_MAX + 1);
  }
  const kept = await records.operations();
  assert.ok(kept.some(({ id }) => id === running.id));
  assert.ok(kept.some(({ id }) => id === 'id-1000'));
  assert.ok(!kept.some(({ id }) => id === 'id-1'));
});
