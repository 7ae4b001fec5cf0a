import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import type { NodeLabels } from '../../model/records.ts';
import type { ControlParts } from '../parts.ts';
import { ThisNode } from './this-node.ts';

test('labels of node.json count where they are new at a start; those of the API stay where the file says what it did', async () => {
  const { records } = memoryRecords();
  const engine = { call: async () => ({}), hello: { instance: 'x' } };
  const installation = { directory: '/' };
  const parts = {
    records,
    engine,
    installation,
    bootId: 'boot',
    wallMs: () => 0,
  } as unknown as ControlParts;
  const startWith = async (labels: Partial<NodeLabels>): Promise<NodeLabels | undefined> => {
    const identity = {
      cluster: 'c',
      node: 'a',
      labels: { region: '', zone: '', rack: '', ...labels },
      peer: { host: '127.0.0.1', port: 7171, sealed: true },
    };
    await new ThisNode(parts, identity, undefined).meetEngine();
    return (await records.node('a'))?.record.labels;
  };
  assert.deepEqual(await startWith({ zone: 'z1' }), { region: '', zone: 'z1', rack: '' });
  const { record } = (await records.node('a')) ?? {};
  const labelled = { ...record, labels: { region: '', zone: 'east', rack: 'r1' } };
  await records.change({ puts: [{ key: 'node/a', record: labelled }] });
  assert.deepEqual(await startWith({ zone: 'z1' }), { region: '', zone: 'east', rack: 'r1' });
  assert.deepEqual(await startWith({ zone: 'z2' }), { region: '', zone: 'z2', rack: 'r1' });
});
