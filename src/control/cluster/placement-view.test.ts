import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Refusal } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import { placementOf } from './placement-view.ts';

const GIB = 2 ** 30;

test('each drive is told with its verdict, as if all replicas were to be placed now', async () => {
  const { records } = memoryRecords();
  const spread = { level: 'zone', isHard: true };
  const volume = {
    name: 'db',
    id: 'id-db',
    drive: '',
    sizeBytes: GIB,
    state: 'ready',
    replication: { count: 2, spread, local: false },
  } as unknown as VolumeRecord;
  const old = { name: 'old', id: 'id-old', drive: 'a1', sizeBytes: GIB } as VolumeRecord;
  const places = [
    ['a', 'a', 'open', 100],
    ['b', 'b', 'open', 9],
    ['c', 'b', 'open', 9],
    ['d', 'c', 'open', 0.1],
    ['e', 'e', 'cordoned', 100],
  ] as const;
  await records.change({
    puts: [
      ...places.flatMap(([name, zone, service, gib]) => [
        {
          key: `node/${name}`,
          record: { name, labels: { region: '', zone, rack: '' }, service },
        },
        {
          key: `drive/${name}1`,
          record: {
            name: `${name}1`,
            node: name,
            path: '/x',
            state: 'ready',
            sizeBytes: gib * GIB,
          },
        },
      ]),
      {
        key: 'replica/1',
        record: {
          id: '1',
          volumeId: 'id-db',
          drive: 'd1',
          node: 'd',
          sizeBytes: GIB,
          state: 'ready',
        },
      },
      { key: 'volume/db', record: volume },
      { key: 'volume/old', record: old },
      { key: 'settings/installation', record: { overprovisionPercent: 100 } },
    ],
  });
  const seen = {
    liveness: (node: string) =>
      node === 'c' ? ({ kind: 'down', sinceMs: 0 } as const) : ({ kind: 'up' } as const),
    clockOf: (ms: number) => ms,
  };
  const { drives, problem, helps } = await placementOf(records, seen, volume);
  assert.deepEqual(
    drives.map(({ drive, hasReplica, verdict, because }) => [drive, hasReplica, verdict, because]),
    [
      ['a1', false, 'chosen', 'it is the best for replica 1: pressure 0.01'],
      ['b1', false, 'chosen', 'it is the best for replica 2: pressure 0.06'],
      ['c1', false, 'refused', 'the node is down'],
      [
        'd1',
        true,
        'refused',
        'its volumes would come to 1 GiB, and the limit is 102 MiB (overprovision)',
      ],
      ['e1', false, 'refused', 'the node is cordoned'],
    ],
  );
  assert.deepEqual([problem, helps], [null, []]);
  await assert.rejects(
    placementOf(records, seen, old),
    (error) => error instanceof Refusal && /it has no replicas/.test(error.message),
  );
});
