import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import { SqliteStore } from '../metadata/sqlite-store.ts';
import type { EventRecord, OperationRecord } from '../model/records.ts';
import { REQUEST_KEPT_MS } from './record-expiry.ts';
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

function newStore(t: TestContext): SqliteStore {
  const store = new SqliteStore({
    path: ':memory:',
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => '',
  });
  t.after(() => store.close());
  return store;
}

const newRecords = (t: TestContext): RecordsStore => new RecordsStore(newStore(t), '/data');

test('the oldest operations that ended are dropped as others end, and those that run never', async (t) => {
  const records = newRecords(t);
  const running = operation(0, 'running');
  await records.change({ puts: [{ key: `operation/${running.id}`, record: running }] });
  for (let n = 1; n <= 1000; n++) {
    const record = operation(n, 'done');
    // Those of one transaction end with it.
    if (n % 3 === 0) await records.putEnded(record);
    else await records.change({ puts: [{ key: `operation/${record.id}`, record }] });
    if (n % 50 === 0) assert.ok((await records.operations()).length <= OPERATIONS_MAX + 1);
  }
  const kept = await records.operations();
  assert.ok(kept.some(({ id }) => id === running.id));
  assert.ok(kept.some(({ id }) => id === 'id-1000'));
  assert.ok(!kept.some(({ id }) => id === 'id-1'));
});

test('what a clock dated that was ahead goes first once it is put right', async (t) => {
  const records = newRecords(t);
  const nowMs = 1_000_000;
  const aheadMs = nowMs + 10 * 365 * 86_400_000;
  const event = (id: string, atMs: number): EventRecord => ({
    id,
    atMs,
    kind: 'trash.held',
    subject: 'trash/all',
    what: '',
  });
  const events = [
    ...Array.from({ length: 400 }, (_, n) => event(`ahead-${n}`, aheadMs + n)),
    ...Array.from({ length: 450 }, (_, n) => event(`right-${n}`, nowMs - n)),
  ];
  await records.changeEach({
    puts: events.map((record) => ({ key: `event/${record.id}`, record })),
    deletes: [],
  });
  await records.trim(nowMs);
  const kept = (await records.events()).map(({ id }) => id);
  assert.deepEqual([kept.length, kept.filter((id) => id.startsWith('right')).length], [500, 450]);
});

test('an operation is kept as long as a request with a key may come back to it for its answer', async (t) => {
  const records = newRecords(t);
  const operations = Array.from({ length: OPERATIONS_MAX }, (_, n) => operation(n, 'done'));
  const request = (key: string, operationId: string, atMs: number, isAnswered: boolean) => ({
    key: `request/${key}`,
    record: {
      key,
      fingerprint: '',
      atMs,
      operationId,
      ...(isAnswered ? { answer: { status: 200, body: '{}' } } : {}),
    },
  });
  await records.changeEach({
    puts: [
      request('asked', 'id-1', 500, false),
      request('answered', 'id-2', 500, true),
      request('old', 'id-3', -REQUEST_KEPT_MS, false),
      ...operations.map((record) => ({ key: `operation/${record.id}`, record })),
    ],
    deletes: [],
  });
  await records.trim(601);
  const kept = new Set((await records.operations()).map(({ id }) => id));
  assert.deepEqual(
    ['id-1', 'id-2', 'id-3', 'id-599'].map((id) => kept.has(id)),
    [true, false, false, true],
  );
  assert.equal(await records.request('old'), undefined);
});

test('what is read has the change that a watch has just told, though the watch of its kind is behind', async (t) => {
  const store = newStore(t);
  const watch = store.watch.bind(store);
  store.watch = (prefix, ...rest) => watch(prefix === '' ? '' : 'never/', ...rest);
  const [records, others] = [new RecordsStore(store, '/data'), new RecordsStore(store, '/data')];
  const isMember = async (): Promise<boolean> => (await records.sets()).isMember('v', 'r');
  assert.equal(await isMember(), false);
  const events = records.watch(await records.revision(), new AbortController().signal);
  const record = { members: [['r', 1]], minimum: 1 };
  await others.change({ puts: [{ key: 'set/v', record }] });
  assert.equal((await events.next()).value?.kind, 'put');
  assert.equal(await isMember(), true);
  await others.change({ deletes: ['set/v'] });
  assert.equal((await events.next()).value?.kind, 'delete');
  assert.equal(await isMember(), false);
  await events.return();
});
