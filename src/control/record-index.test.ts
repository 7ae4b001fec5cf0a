import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { SqliteStore } from '../metadata/sqlite-store.ts';
import type { ClusterStore, Transaction } from '../metadata/cluster-store.ts';
import { Refusal } from '../model/errors.ts';
import { RecordIndex } from './record-index.ts';

type Named = { readonly name: string; readonly size: number };

function setUp(): { store: ClusterStore; index: RecordIndex<Named> } {
  const store = new SqliteStore({
    path: ':memory:',
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => '',
  });
  return { store, index: new RecordIndex<Named>(store, 'volume/', (value) => value) };
}

async function change(
  { store, index }: ReturnType<typeof setUp>,
  { puts = [], deletes = [] }: Transaction,
): Promise<void> {
  const result = await store.transact({ puts, deletes });
  assert.ok(result.kind === 'committed');
  await index.committed(result, { puts, deletes });
}

const put = (name: string, size: number) => ({ key: `volume/${name}`, value: { name, size } });
const names = async ({ index }: ReturnType<typeof setUp>): Promise<string> =>
  (await index.all()).map(({ name, size }) => `${name}${size}`).join(' ');

test('the index has what the store has: read before, put, put again, deleted', async () => {
  const both = setUp();
  await change(both, { puts: [put('b', 1), { key: 'drive/x', value: {} }] });
  assert.equal(await names(both), 'b1');
  await change(both, { puts: [put('a', 1), put('b', 2), { key: 'drive/y', value: {} }] });
  assert.equal(await names(both), 'a1 b2');
  assert.deepEqual(await both.index.get('a'), { name: 'a', size: 1 });
  await change(both, { deletes: ['volume/b', 'volume/none', 'drive/x'] });
  assert.equal(await names(both), 'a1');
  await change(both, { puts: [put('b', 3)] });
  assert.equal(await names(both), 'a1 b3');
});

test('a change that was committed while the index was read is in it once, and none is undone', async () => {
  const both = setUp();
  await change(both, { puts: [put('a', 1), put('b', 1)] });
  const { store, index } = both;
  const early = await store.transact({ puts: [put('a', 2)] });
  const reading = index.all();
  const late = await store.transact({ deletes: ['volume/b'] });
  assert.ok(early.kind === 'committed' && late.kind === 'committed');
  await index.committed(early, { puts: [put('a', 2)], deletes: [] });
  await index.committed(late, { puts: [], deletes: ['volume/b'] });
  await reading;
  assert.equal(await names(both), 'a2');
  // What is older than what was read changes nothing.
  const { revision } = early;
  await index.committed(
    { kind: 'committed', revision: revision - 1 },
    { puts: [put('a', 1)], deletes: [] },
  );
  assert.equal(await names(both), 'a2');
});

test('a store that does not answer is asked again, and what was forgotten is read anew', async () => {
  const { store } = setUp();
  let isAway = true;
  const list: ClusterStore['list'] = (prefix) =>
    isAway ? Promise.reject(new Error('away')) : store.list(prefix);
  const watch: ClusterStore['watch'] = (...of) => store.watch(...of);
  const index = new RecordIndex<Named>({ ...store, list, watch }, 'volume/', (value) => value);
  const both = { store, index };
  await assert.rejects(index.all(), /away/);
  isAway = false;
  assert.equal(await names(both), '');
  // Committed, and its answer was lost.
  await store.transact({ puts: [put('a', 1)] });
  assert.equal(await names(both), '');
  index.forget();
  assert.equal(await names(both), 'a1');
});

test('what another process changes is in it, and so is its own change at once', async () => {
  const both = setUp();
  const { store, index } = both;
  assert.equal(await names(both), '');
  await store.transact({ puts: [put('a', 1), put('b', 1)] });
  await untilNames(both, 'a1 b1');
  // Its own, with the watch still to tell of what came before.
  await store.transact({ puts: [put('b', 2)] });
  await change(both, { deletes: ['volume/b'] });
  await change(both, { puts: [put('c', 1)] });
  assert.equal(await names(both), 'a1 c1');
  await store.transact({ puts: [put('b', 3)], deletes: ['volume/a'] });
  await untilNames(both, 'b3 c1');
  index.forget();
});

test('after the watch has told of a change, the same one of its own is no news', async () => {
  const both = setUp();
  const { store, index } = both;
  assert.equal(await names(both), '');
  const own = await store.transact({ puts: [put('a', 1)] });
  await store.transact({ deletes: ['volume/a'] });
  await store.transact({ puts: [put('z', 1)] });
  await untilNames(both, 'z1');
  assert.ok(own.kind === 'committed');
  await index.committed(own, { puts: [put('a', 1)], deletes: [] });
  assert.equal(await names(both), 'z1');
  index.forget();
});

test('a watch that ends has it read anew', async () => {
  const { store } = setUp();
  let lists = 0;
  const list: ClusterStore['list'] = (prefix) => {
    lists++;
    return store.list(prefix);
  };
  const compacted = (): never => {
    throw new Refusal('STORE_COMPACTED', { revision: 1, oldest: 2, newest: 3 });
  };
  const watch: ClusterStore['watch'] = (...of) => (lists === 1 ? compacted() : store.watch(...of));
  const index = new RecordIndex<Named>({ ...store, list, watch }, 'volume/', (value) => value);
  assert.equal(await names({ store, index }), '');
  await store.transact({ puts: [put('a', 1)] });
  await untilNames({ store, index }, 'a1');
  assert.equal(lists, 2);
  index.forget();
});

async function untilNames(both: ReturnType<typeof setUp>, wanted: string): Promise<void> {
  for (let tries = 0; tries < 100 && (await names(both)) !== wanted; tries++) await nextTurn();
  assert.equal(await names(both), wanted);
}

test('the order of keys holds through changes, and a list stays as it was given out', async () => {
  const both = setUp();
  const present = new Map<string, number>();
  for (let step = 0; step < 200; step++) {
    const name = `n${(step * 37) % 53}`;
    const before = await both.index.all();
    const copy = [...before];
    if (step % 3 === 2) {
      present.delete(name);
      await change(both, { deletes: [`volume/${name}`] });
    } else {
      present.set(name, step);
      await change(both, { puts: [put(name, step)] });
    }
    const expected = [...present].toSorted(([a], [b]) => (a < b ? -1 : 1));
    assert.equal(await names(both), expected.map(([each, size]) => `${each}${size}`).join(' '));
    assert.deepEqual(before, copy);
  }
});
