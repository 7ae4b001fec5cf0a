import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Fault, Refusal } from '../../model/errors.ts';
import { formatUuid } from '../../model/ids.ts';
import type { VolumeRecord } from '../../model/records.ts';
import type { ControlParts } from '../parts.ts';
import type { VolumeData } from '../volume-data.ts';
import { VolumeSettler } from '../volume-settler.ts';
import type { Cluster } from './cluster.ts';
import { ReplicatedData } from './replicated-data.ts';

const volume = {
  name: 'db',
  id: 'v',
  drive: '',
  state: 'creating',
  sizeBytes: 4096,
  settledBy: 'a',
};
const replica = {
  id: 'b'.repeat(32),
  volume: 'db',
  volumeId: 'v',
  node: 'b',
  drive: 'd',
  sizeBytes: 4096,
  state: 'ready',
  life: 3,
};

async function setUp() {
  const { records } = memoryRecords();
  let nextId = 1;
  const parts = {
    records,
    node: 'a',
    newAttachId: () => String(nextId++).padStart(32, '0'),
    onStep: () => undefined,
    progress: { show: () => undefined, clear: () => undefined },
  } as unknown as ControlParts;
  await records.change({ puts: [{ key: 'volume/db', record: volume }] });
  // Waits for no time at all.
  const watch = { until: <T>(find: () => Promise<T>): Promise<T> => find() };
  const data = new ReplicatedData(parts, { watch } as unknown as Cluster);
  return { records, parts, data, record: volume as unknown as VolumeRecord };
}

test('a volume whose replicas this node has not heard of gets no set without members', async () => {
  const { records, data, record } = await setUp();
  await assert.rejects(data.create(record), Refusal);
  assert.equal(await records.set('v'), undefined);
  await records.change({ puts: [{ key: `replica/${replica.id}`, record: replica }] });
  await data.create(record);
  assert.deepEqual([...((await records.set('v'))?.record.members ?? [])], [[replica.id, 3]]);
});

test('a volume that is removed while it is created gets no set', async () => {
  const { records, data, record } = await setUp();
  const key = `replica/${replica.id}`;
  await records.change({ puts: [{ key, record: replica }] });
  const change = records.change.bind(records);
  records.change = async (wanted) => {
    records.change = change;
    await change({ puts: [{ key, record: { ...replica, state: 'removing' } }] });
    return change(wanted);
  };
  await assert.rejects(
    data.create(record),
    (error: unknown) => error instanceof Refusal && error.code === 'STORE_CONFLICT',
  );
  assert.equal(await records.set('v'), undefined);
});

test('a volume is not forgotten for a store that fails while it is created, nor for another who creates it too', async () => {
  const errors = [
    new Fault('STORE_UNREACHABLE', { problem: 'away' }),
    new Refusal('STORE_CONFLICT', { key: 'set/v' }),
  ];
  for (const error of errors) {
    const { records, parts } = await setUp();
    let tries = 0;
    const data = {
      create: () => (tries++ === 0 ? Promise.reject(error) : Promise.resolve()),
    } as unknown as VolumeData;
    await new VolumeSettler(parts, () => data).settle('db').catch(() => undefined);
    assert.notEqual(await records.volume('db'), undefined);
  }
});

test('a replica is faulted with its drive, and rebuilding only while its head reaches it', async () => {
  const { records, parts, data } = await setUp();
  const ids = ['b', 'c', 'd'].map((digit) => digit.repeat(32));
  const set = { lineage: 1, epoch: 1, writer: 'e'.repeat(32), minimum: 1, sizeBytes: 4096 };
  const attachment = { attachId: 'x', node: 'a', state: 'attached' };
  const attached = { ...volume, state: 'ready', replication: { count: 3 }, attachment };
  await records.change({
    puts: [
      { key: 'volume/db', record: attached },
      { key: 'set/v', record: { ...set, members: [] } },
      { key: 'drive-use/d-d', record: { drive: 'd-d', node: 'd', state: 'faulted' } },
      ...ids.map((id) => {
        const place = { id, node: id.slice(0, 1), drive: `d-${id.slice(0, 1)}` };
        return { key: `replica/${id}`, record: { ...replica, ...place } };
      }),
    ],
  });
  const replicas = ids.map((id, index) => ({
    replica: formatUuid(id),
    isRebuilding: true,
    isConnected: index !== 1,
  }));
  const engine = {
    call: (name: string) =>
      Promise.resolve(name === 'head.status' ? { replicas, stalled: null } : { volumes: [] }),
  };
  Object.assign(parts, { engine });
  const status = await data.status(attached as unknown as VolumeRecord);
  const states = status?.['replicas'] as readonly { readonly state: string }[];
  assert.deepEqual(
    states.map(({ state }) => state),
    ['rebuilding', 'stale', 'faulted'],
  );
});
