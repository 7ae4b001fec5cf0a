import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Refusal } from '../../model/errors.ts';
import { recordJson } from '../../peer/record-json.ts';
import type { Record as SetRecord } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import { UNREPORTED_KEY } from '../records-store.ts';
import { ReplicaReport } from './replica-report.ts';

const set = (epoch: number): SetRecord => ({
  lineage: 7,
  epoch,
  writer: `w${epoch}`,
  head: undefined,
  attachment: undefined,
  members: new Map([['r1', 1]]),
  minimum: 1,
  sizeBytes: 4096,
});

/** Node a, whose engine says of its replicas what `replicas` has; the records know replica r1, and a set of epoch 5. */
async function setUp(replicas: readonly JsonObject[]) {
  const { records } = memoryRecords();
  await records.change({
    puts: [
      { key: 'drive/d', record: { name: 'd', id: 'd-id', node: 'a', path: '/d' } },
      {
        key: 'replica/r1',
        record: { id: 'r1', volume: 'db', volumeId: 'v', node: 'a', drive: 'd', state: 'ready' },
      },
      { key: 'set/v', record: recordJson(set(5)) },
      { key: UNREPORTED_KEY, record: { nodes: ['a', 'b'] } },
    ],
  });
  const answers: { readonly [call: string]: JsonObject } = {
    'replica.list': { replicas, more: false },
    'drive.list': { drives: [{ driveId: 'd-id', state: 'open' }] },
  };
  let nextId = 1;
  const parts = {
    records,
    engine: {
      call: (name: string) =>
        name in answers
          ? Promise.resolve(answers[name])
          : Promise.reject(new Refusal('VOLUME_NOT_FOUND', { volume: 'r1', hint: '' })),
    },
    log: () => undefined,
    wallMs: () => 0,
    newId: () => `id-${nextId++}`,
  };
  const report = new ReplicaReport(parts as unknown as ControlParts, 'a');
  const kinds = async () => (await records.events()).map(({ kind }) => kind);
  return { records, report, kinds };
}

test('a set that a replica knew, and the records lost, is put back; an older one is not', async () => {
  const newer = await setUp([{ replica: 'r1', life: 1, record: recordJson(set(9)) }]);
  await newer.report.run();
  await newer.report.run();
  assert.equal((await newer.records.set('v'))?.record.epoch, 9);
  assert.deepEqual(await newer.kinds(), ['volume.set_restored']);
  assert.deepEqual(await newer.records.unreported(), ['b']);

  const older = await setUp([{ replica: 'r1', life: 1, record: recordJson(set(3)) }]);
  await older.report.run();
  assert.equal((await older.records.set('v'))?.record.epoch, 5);
  assert.deepEqual(await older.kinds(), []);
});

test('a replica that its drive no longer holds is given up; one that nobody knows is left', async () => {
  const { records, report, kinds } = await setUp([{ replica: 'r9', life: 1 }]);
  await report.run();
  await report.run();
  assert.equal((await records.replica('r1'))?.record.state, 'removing');
  assert.equal(await records.replica('r9'), undefined);
  assert.deepEqual(new Set(await kinds()), new Set(['replica.lost', 'replica.stray']));
});
