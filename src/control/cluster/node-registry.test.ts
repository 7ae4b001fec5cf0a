import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Refusal } from '../../model/errors.ts';
import type { NodeRecord, ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import type { Liveness } from '../../placement/model.ts';
import type { ControlParts } from '../parts.ts';
import { NodeRegistry } from './node-registry.ts';

const node = (name: string): NodeRecord => ({
  name,
  labels: { region: '', zone: name, rack: '' },
  service: 'open',
  peer: { host: '127.0.0.1', port: 7171 },
  bootId: 'boot',
  engine: { instance: 'x', start: 3 },
  createdAtMs: 0,
});

const replica = (id: string, of: Partial<ReplicaRecord>) => ({
  key: `replica/${id}`,
  record: { id, volume: 'db', node: 'b', drive: 'b1', state: 'ready', ...of },
});

/** Nodes a and b, of which b is down; a drive on each. */
async function setUp() {
  const { store, records } = memoryRecords();
  let nextId = 1;
  const parts = { records, wallMs: () => 0, newId: () => `id-${nextId++}` };
  const liveness = (name: string): Liveness =>
    name === 'a' ? { kind: 'up' } : { kind: 'down', sinceMs: 1000 };
  const registry = new NodeRegistry(parts as unknown as ControlParts, {
    liveness,
    nowMs: () => 6000,
    clockOf: (wallMs) => wallMs,
  });
  await records.change({
    puts: [
      { key: 'node/a', record: node('a') },
      { key: 'node/b', record: node('b') },
      { key: 'drive/a1', record: { name: 'a1', node: 'a', path: '/a1' } },
      { key: 'drive/b1', record: { name: 'b1', node: 'b', path: '/b1' } },
    ],
  });
  return { store, records, registry };
}

const refusedAs =
  (code: string, words = /./) =>
  (error: unknown): boolean =>
    error instanceof Refusal && error.code === code && words.test(error.message);

test('nodes are listed with their state and with what they have', async () => {
  const { records, registry } = await setUp();
  const volume = { name: 'db', drive: '', attachment: { node: 'a' } } as unknown as VolumeRecord;
  await records.change({
    puts: [
      { key: 'volume/db', record: volume },
      { key: 'volume/old', record: { ...volume, name: 'old', drive: 'b1' } },
      replica('1', {}),
      replica('2', { state: 'removing' }),
    ],
  });
  const [a, b] = await registry.list();
  assert.deepEqual(
    [a?.state, a?.downForMs, a?.drives, a?.replicas, a?.attached],
    ['up', null, ['a1'], 0, 2],
  );
  assert.deepEqual(
    [b?.state, b?.downForMs, b?.drives, b?.replicas, b?.attached],
    ['down', 5000, ['b1'], 1, 0],
  );
  assert.equal(b?.engineStart, 3);
  assert.deepEqual([a?.alone, b?.alone], [[], ['old']], 'what a drain leaves there');
  await assert.rejects(registry.get('bb'), refusedAs('NODE_NOT_FOUND', /did you mean "b"/i));
});

test('what is changed of a node leaves the rest, and what its control writes meanwhile', async () => {
  const { records, registry } = await setUp();
  const changed = await registry.change('b', { labels: { rack: 'r1' } });
  assert.deepEqual(changed.labels, { region: '', zone: 'b', rack: 'r1' });
  const restarted = { ...node('b'), engine: { instance: 'y', start: 4 } };
  await Promise.all([
    registry.change('b', { service: 'draining' }),
    records.change({ puts: [{ key: 'node/b', record: restarted }] }),
  ]);
  const { service, engineStart } = await registry.get('b');
  assert.deepEqual([service, engineStart], ['draining', 4]);
  await assert.rejects(registry.change('c', { service: 'open' }), refusedAs('NODE_NOT_FOUND'));
});

test('a node that lives or that volumes count on stays; one that is gone goes with all that is its', async () => {
  const { store, records, registry } = await setUp();
  const leaseId = await store.grantLease(60_000);
  await records.change({ puts: [{ key: 'alive/b', record: { node: 'b', bootId: '' }, leaseId }] });
  await assert.rejects(registry.remove('b'), refusedAs('NODE_LIVES'));
  await store.revokeLease(leaseId);
  await records.change({ puts: [replica('1', {}), replica('2', { state: 'removing' })] });
  await assert.rejects(registry.remove('b'), refusedAs('NODE_IN_USE', /"db"/));
  await records.change({ puts: [replica('1', { state: 'removing' })] });
  const single = { name: 'single', drive: 'b1' } as VolumeRecord;
  await records.change({ puts: [{ key: 'volume/single', record: single }] });
  await assert.rejects(registry.remove('b'), refusedAs('NODE_IN_USE', /"single"/));
  await records.change({ deletes: ['volume/single'] });
  const operation = { id: 'o', kind: 'volume.create', target: 'volume/x', node: 'b' };
  await records.change({
    puts: [{ key: 'operation/o', record: { ...operation, state: 'running', startedAtMs: 0 } }],
  });
  assert.equal(await registry.remove('b'), true);
  assert.equal((await records.operation('o'))?.state, 'failed');
  assert.deepEqual(
    (await records.nodes()).map(({ name }) => name),
    ['a'],
  );
  assert.deepEqual(
    (await records.everyDrive()).map(({ name }) => name),
    ['a1'],
  );
  assert.deepEqual(await records.replicas(), []);
  assert.equal(await registry.remove('b'), false);
});

test('a node that is back while it is removed still erases the replicas that it is to erase', async () => {
  const { store, records, registry } = await setUp();
  await records.change({ puts: [replica('1', { state: 'removing' })] });
  const leaseId = await store.grantLease(60_000);
  const alive = { key: 'alive/b', value: { node: 'b', bootId: '' }, leaseId };
  const change = records.change.bind(records);
  records.change = async (wanted) => {
    records.change = change;
    await store.transact({ puts: [alive] });
    return change(wanted);
  };
  await assert.rejects(registry.remove('b'), refusedAs('NODE_LIVES'));
  assert.equal((await records.replica('1'))?.record.state, 'removing');
});
