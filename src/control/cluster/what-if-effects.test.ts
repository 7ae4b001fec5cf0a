import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Refusal } from '../../model/errors.ts';
import { recordJson } from '../../peer/record-json.ts';
import type { RecordsStore } from '../records-store.ts';
import { NOBODY_AWAY } from './placing.ts';
import { effectsOf } from './what-if-effects.ts';

const GIB = 2 ** 30;

/** A volume with a replica on each of nodes a, b and c, attached on b, and one of before the cluster on the drive of b. */
async function setUp(...nodes: readonly string[]): Promise<RecordsStore> {
  const { records } = memoryRecords();
  const volume = { state: 'ready', sizeBytes: GIB };
  const spread = { level: 'node', isHard: true };
  const db = { ...volume, name: 'db', id: 'id-db', drive: '', attachment: { node: 'b' } };
  const set = recordJson({
    lineage: 1,
    epoch: 1,
    writer: '0'.repeat(32),
    head: undefined,
    attachment: undefined,
    members: new Map(['a', 'b', 'c'].map((node) => [`replica-${node}`, 1])),
    minimum: 2,
    sizeBytes: GIB,
  });
  await records.change({
    puts: [
      ...nodes.flatMap((name) => [
        { key: `node/${name}`, record: { name, labels: labelsOf(name), service: 'open' } },
        {
          key: `drive/${name}1`,
          record: { name: `${name}1`, node: name, path: '/x', state: 'ready', sizeBytes: 9 * GIB },
        },
      ]),
      ...['a', 'b', 'c'].map((node) => ({
        key: `replica/replica-${node}`,
        record: {
          id: `replica-${node}`,
          volume: 'db',
          volumeId: 'id-db',
          node,
          drive: `${node}1`,
          sizeBytes: GIB,
          state: 'ready',
        },
      })),
      { key: 'volume/db', record: { ...db, replication: { count: 3, spread, local: false } } },
      { key: 'volume/old', record: { ...volume, name: 'old', id: 'id-old', drive: 'b1' } },
      { key: 'set/id-db', record: set },
    ],
  });
  return records;
}

const labelsOf = (zone: string) => ({ region: '', zone, rack: '' });

test('of the loss of a node it is told what stops, what has fewer copies and what gets new ones where', async () => {
  const records = await setUp('a', 'b', 'c', 'd');
  const loss = { kind: 'lose', level: 'node', domain: 'b' } as const;
  const [old, db] = await effectsOf(records, NOBODY_AWAY, loss);
  assert.deepEqual(
    [old?.volume, old?.outcome, old?.copiesThen, old?.attachedThere],
    ['old', 'stops', 0, false],
  );
  assert.deepEqual(db, {
    volume: 'db',
    outcome: 'loses redundancy',
    copiesNow: 3,
    copiesThen: 2,
    minimum: 2,
    replicas: 3,
    attachedThere: true,
    drives: ['b1'],
    newDrives: ['d1'],
    held: null,
  });
});

test('what the trash has is told of by its name, also where another volume has that', async () => {
  const records = await setUp('a', 'b', 'c', 'd');
  const db = (await records.volume('db'))?.record;
  const trashed = { volume: { ...db, attachment: undefined }, state: 'kept', removedAtMs: 0 };
  await records.change({
    puts: [{ key: 'trash/id-db', record: trashed }],
    deletes: ['volume/db'],
  });
  const loss = { kind: 'drain', level: 'node', domain: 'b' } as const;
  const effects = await effectsOf(records, NOBODY_AWAY, loss);
  assert.deepEqual(
    effects.map(({ volume, newDrives }) => [volume, newDrives]),
    [
      ['old', []],
      ['db (trash)', ['d1']],
    ],
  );
});

test('a drain for which there is no room tells what holds it', async () => {
  const records = await setUp('a', 'b', 'c');
  const loss = { kind: 'drain', level: 'zone', domain: 'c' } as const;
  const [db] = await effectsOf(records, NOBODY_AWAY, loss);
  assert.deepEqual(
    [db?.outcome, db?.newDrives, db?.held],
    ['loses redundancy', [], 'no other drive can take it'],
  );
});

test('a place in which no node is is refused', async () => {
  const records = await setUp('a', 'b', 'c');
  for (const [level, code] of [
    ['node', 'NODE_NOT_FOUND'],
    ['rack', 'INPUT_INVALID'],
  ] as const) {
    await assert.rejects(
      effectsOf(records, NOBODY_AWAY, { kind: 'lose', level, domain: 'x' }),
      (error) => error instanceof Refusal && error.code === code,
    );
  }
});
