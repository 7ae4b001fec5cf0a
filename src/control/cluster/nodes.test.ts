import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { SqliteStore } from '../../metadata/sqlite-store.ts';
import { RecordsStore } from '../records-store.ts';
import { Nodes } from './nodes.ts';

/** The records of nodes a and b, for control of node a. */
async function setUp() {
  let leases = 0;
  const store = new SqliteStore({
    path: ':memory:',
    bootMs: () => performance.now(),
    bootId: 'boot',
    randomId: () => `lease-${leases++}`,
  });
  const records = new RecordsStore(store, '/', 'a');
  const puts = ['a', 'b'].map((name) => ({ key: `node/${name}`, record: { name } }));
  await records.change({ puts });
  const parts = { records, bootId: 'boot', wallMs: () => 0, log: () => undefined };
  let tell: (key: string | undefined) => void = () => undefined;
  const watch = { onChange: (listener: typeof tell) => void (tell = listener) };
  const nodes = new Nodes(parts as unknown as ConstructorParameters<typeof Nodes>[0], {
    node: 'a',
    watch: watch as unknown as ConstructorParameters<typeof Nodes>[1]['watch'],
  });
  return { store, records, nodes, tell: (key: string | undefined) => tell(key) };
}

test('a node lives from when it says so until it ends in order, for itself and for others', async () => {
  const { records, nodes, tell } = await setUp();
  await nodes.start();
  assert.deepEqual(nodes.liveness('a'), { kind: 'up' });
  assert.equal(nodes.liveness('b').kind, 'down');
  await records.change({ puts: [{ key: 'alive/b', record: { node: 'b', bootId: 'boot' } }] });
  tell('alive/b');
  await sleep(10);
  assert.deepEqual(nodes.liveness('b'), { kind: 'up' });
  assert.equal(await nodes.isFirst(), true);
  await nodes.stop();
  assert.deepEqual(
    (await records.alive()).map(({ node }) => node),
    ['b'],
  );
});

test('a store that refuses the record of a node after its lease is told anew, under another one', async () => {
  const { records, nodes } = await setUp();
  const change = records.change.bind(records);
  records.change = () => Promise.reject(new Error('full'));
  await nodes.start();
  records.change = change;
  assert.deepEqual(await records.alive(), []);
  for (let tries = 0; tries < 60 && (await records.alive()).length === 0; tries++) await sleep(50);
  assert.deepEqual(
    (await records.alive()).map(({ node }) => node),
    ['a'],
  );
  await nodes.stop();
});

test('what was read last of the nodes holds, whatever earlier reads come to', async () => {
  const { records, nodes, tell } = await setUp();
  await nodes.start();
  const slow = Promise.withResolvers<void>();
  const alive = records.alive.bind(records);
  const before = await records.alive();
  records.alive = async () => {
    records.alive = alive;
    await slow.promise;
    return before;
  };
  tell('alive/b');
  await records.change({ puts: [{ key: 'alive/b', record: { node: 'b', bootId: 'boot' } }] });
  tell('alive/b');
  await sleep(10);
  slow.resolve();
  await sleep(10);
  assert.deepEqual(nodes.liveness('b'), { kind: 'up' });
  await nodes.stop();
});
