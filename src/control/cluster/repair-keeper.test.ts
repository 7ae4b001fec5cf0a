import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import type { ReplicaRecord } from '../../model/records.ts';
import type { ControlParts } from '../parts.ts';
import type { Nodes } from './nodes.ts';
import type { RecordWatch } from './record-watch.ts';
import { RepairKeeper } from './repair-keeper.ts';

const NODES = ['a', 'b', 'c', 'd'];

const setOf = (...members: readonly string[]) => ({
  lineage: 1,
  epoch: members.length,
  writer: '00',
  members: members.map((id) => [id, 1]),
  minimum: 1,
  sizeBytes: 4096,
});

/** Nodes a to c live, and d does not; a drive each. A volume with a replica on each of `replicas`, all of them in its set. */
async function setUp(replicas: Readonly<Record<string, Partial<ReplicaRecord>>>, count: number) {
  const { store, records } = memoryRecords();
  let nextId = 1;
  const clock = { nowMs: 1_000_000 };
  const parts = { records, newAttachId: () => `new-${nextId++}` } as unknown as ControlParts;
  const nodes = {
    isFirst: () => Promise.resolve(true),
    liveness: (name: string) =>
      name === 'd' ? { kind: 'down', sinceMs: clock.nowMs } : { kind: 'up' },
    nowMs: () => clock.nowMs,
    clockOf: () => 0,
  } as unknown as Nodes;
  const watch = { onChange: () => () => false } as unknown as RecordWatch;
  const keeper = new RepairKeeper(parts, { nodes, watch });
  const spread = { level: 'node', isHard: true };
  const volume = {
    name: 'db',
    id: 'v',
    drive: '',
    state: 'ready',
    sizeBytes: 4096,
    replication: { count, spread, local: false },
  };
  await records.change({
    puts: [
      ...NODES.flatMap((name) => [
        {
          key: `node/${name}`,
          record: { name, labels: { region: '', zone: name, rack: '' }, service: 'open' },
        },
        {
          key: `drive/drive-${name}`,
          record: {
            name: `drive-${name}`,
            id: `id-${name}`,
            node: name,
            path: '/x',
            sizeBytes: 2 ** 30,
            state: 'ready',
          },
        },
      ]),
      { key: 'volume/db', record: volume },
      ...Object.entries(replicas).map(([name, of]) => ({
        key: `replica/${name}`,
        record: {
          id: name,
          volume: 'db',
          volumeId: 'v',
          node: name,
          drive: `drive-${name}`,
          sizeBytes: 4096,
          state: 'ready',
          ...of,
        },
      })),
      { key: 'set/v', record: setOf(...Object.keys(replicas)) },
    ],
  });
  return { store, records, keeper, volume, clock };
}

test('a replica that is to go stays while the store says that others are fewer than wanted, whatever a watch has told', async () => {
  const { store, records, keeper } = await setUp({ a: { leaving: 'moved' }, b: {}, c: {} }, 2);
  const read = records.set.bind(records);
  // Both others died, and no watch has told so yet.
  records.set = async (id) => {
    const value = { ...setOf('a'), members: [['a', 1]] };
    await store.transact({ puts: [{ key: 'set/v', value }] });
    return read(id);
  };
  await keeper.look();
  assert.equal((await records.replica('a'))?.record.state, 'ready');
});

test('a set that changes while a removal is decided takes the removal back', async () => {
  const { store, records, keeper } = await setUp({ a: { leaving: 'moved' }, b: {}, c: {} }, 2);
  const read = records.set.bind(records);
  records.set = async (id) => {
    const before = await read(id);
    await store.transact({ puts: [{ key: 'set/v', value: setOf('a') }] });
    return before;
  };
  await keeper.look();
  assert.equal((await records.replica('a'))?.record.state, 'ready');
  records.set = read;
  await store.transact({ puts: [{ key: 'set/v', value: setOf('a', 'b', 'c') }] });
  await keeper.look();
  assert.equal((await records.replica('a'))?.record.state, 'removing');
});

test('replicas leave a drive that drains once others have what they hold; in service again it keeps them', async () => {
  const { store, records, keeper } = await setUp({ a: {}, b: {} }, 2);
  const serve = async (service: string) => {
    const { value } = (await store.get('drive/drive-b')) ?? { value: {} };
    await store.transact({
      puts: [{ key: 'drive/drive-b', value: { ...(value as object), service } }],
    });
    await keeper.look();
  };
  const stateOf = async (id: string) => (await records.replica(id))?.record.state;
  await serve('draining');
  const added = (await records.replicas()).find(({ drive }) => drive === 'drive-c');
  assert.deepEqual([added?.isNew, await stateOf('b')], [true, 'ready']);
  await serve('open');
  const { leaving } = (await records.replicas()).find(({ drive }) => drive === 'drive-c') ?? {};
  assert.deepEqual([leaving, await stateOf('b')], ['moved', 'ready']);

  await serve('draining');
  const replicas = (await records.replicas()).filter(({ state }) => state !== 'removing');
  const staying = replicas.filter(({ drive }) => drive !== 'drive-b').map(({ id }) => id);
  await records.change({
    puts: [
      { key: 'set/v', record: setOf(...staying, 'b') },
      ...replicas.map((record) => ({
        key: `replica/${record.id}`,
        record: { ...record, state: 'ready' },
      })),
    ],
  });
  await keeper.look();
  assert.equal(await stateOf('b'), 'removing');
});

test('no replica is added to a volume that is being removed, nor on a drive that is', async () => {
  for (const key of ['volume/db', 'drive/drive-b']) {
    const { store, records, keeper } = await setUp({ a: {} }, 2);
    const change = records.change.bind(records);
    records.change = async (wanted) => {
      records.change = change;
      const { value } = (await store.get(key)) ?? { value: {} };
      await store.transact({ puts: [{ key, value: { ...(value as object), state: 'removing' } }] });
      return change(wanted);
    };
    await keeper.look();
    assert.deepEqual(
      (await records.replicas()).map(({ id }) => id),
      ['a'],
    );
  }
});

test('a volume that came out of the trash under another name is repaired too', async () => {
  const { records, keeper, volume } = await setUp({ a: {}, b: {} }, 2);
  await records.change({
    puts: [
      { key: 'volume/other', record: { ...volume, name: 'other' } },
      { key: 'set/v', record: setOf('a') },
    ],
    deletes: ['volume/db'],
  });
  await keeper.look();
  assert.equal((await records.replica('b'))?.record.isDue, true);
});

test('the replicas of a volume in the trash leave a node that is drained', async () => {
  const { records, keeper, volume } = await setUp({ a: {}, b: {} }, 2);
  const node = await records.node('b');
  const trashed = { volume, state: 'kept', removedAtMs: 0, purgeAtMs: 1 };
  await records.change({
    puts: [
      { key: 'node/b', record: { ...node?.record, service: 'draining' } },
      { key: 'trash/v', record: trashed },
      // Another has its name.
      { key: 'volume/db', record: { ...volume, id: 'w', replication: undefined } },
    ],
  });
  await keeper.look();
  const added = (await records.replicas()).filter(({ isNew }) => isNew === true);
  assert.deepEqual(
    added.map(({ volumeId, node: on }) => [volumeId, on]),
    [['v', 'c']],
  );
  const key = `replica/${added[0]?.id}`;
  await records.change({ puts: [{ key, record: { ...added[0], state: 'ready' } }] });
  await keeper.look();
  assert.equal((await records.replica(added[0]?.id ?? ''))?.record.isDue, true);
});

test('a volume that is attached to a node that is away takes no copy from others; one that is not does', async () => {
  const { records, keeper, volume } = await setUp({ a: {}, b: {} }, 2);
  await records.change({ puts: [{ key: 'set/v', record: setOf('a') }] });
  for (const [node, isDue] of [
    ['d', false],
    ['c', true],
  ] as const) {
    const attachment = { attachId: 'x', node, state: 'attached' };
    await records.change({ puts: [{ key: 'volume/db', record: { ...volume, attachment } }] });
    await keeper.look();
    assert.equal((await records.replica('b'))?.record.isDue ?? false, isDue);
  }
});

test('a replica that could not be made is given up after a minute', async () => {
  const error = { code: 'DRIVE_FULL', message: 'full' };
  const unmade = { state: 'creating', isNew: true, error } as const;
  const { records, keeper, clock } = await setUp({ a: {}, b: unmade }, 2);
  await records.change({ puts: [{ key: 'set/v', record: setOf('a') }] });
  await keeper.look();
  clock.nowMs += 59_000;
  await keeper.look();
  assert.equal((await records.replica('b'))?.record.state, 'creating');
  clock.nowMs += 1000;
  await keeper.look();
  assert.equal((await records.replica('b'))?.record.state, 'removing');
});

test('a replica whose volume is gone is given up; one of a volume in the trash, or that is being created, stays', async () => {
  const { records, keeper, volume } = await setUp({ a: {} }, 1);
  const stateOf = async () => (await records.replica('a'))?.record.state;
  await records.change({ deletes: ['volume/db'] });
  await keeper.look();
  assert.equal(await stateOf(), 'ready');
  await records.change({
    puts: [{ key: 'volume/db', record: { ...volume, state: 'creating' } }],
    deletes: ['set/v'],
  });
  await keeper.look();
  assert.equal(await stateOf(), 'ready');
  await records.change({ deletes: ['volume/db'] });
  await keeper.look();
  assert.equal(await stateOf(), 'removing');
});

test('a look tells whether anything waits for the time: a volume that is whole does not', async () => {
  const whole = await setUp({ a: {}, b: {} }, 2);
  assert.equal(await whole.keeper.look(), false);
  // One of three is away, and has a grace.
  const lacking = await setUp({ a: {}, b: {}, d: {} }, 3);
  assert.equal(await lacking.keeper.look(), true);
});
