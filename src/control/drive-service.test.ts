import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../test/rigs/memory-records.ts';
import { Refusal } from '../model/errors.ts';
import { NOBODY_AWAY, clusterOf } from './cluster/placing.ts';
import { changeDriveService } from './drive-service.ts';
import type { ControlParts } from './parts.ts';

/** Nodes a and b with a drive each. */
async function setUp(node: string | undefined) {
  const { records } = memoryRecords();
  let nextId = 1;
  const parts = { records, node, wallMs: () => 0, newId: () => `id-${nextId++}` };
  await records.change({
    puts: ['a', 'b'].flatMap((name) => [
      { key: `node/${name}`, record: { name, labels: {}, service: 'open' } },
      {
        key: `drive/${name}1`,
        record: { name: `${name}1`, node: name, path: '/x', state: 'ready', sizeBytes: 2 ** 30 },
      },
    ]),
  });
  return { records, parts: parts as unknown as ControlParts };
}

const refusedFor =
  (words: RegExp) =>
  (error: unknown): boolean =>
    error instanceof Refusal && error.code === 'DRIVE_NOT_DRAINED' && words.test(error.message);

test('any node takes any drive of its cluster out of service, and back; the same again is no change', async () => {
  const { records, parts } = await setUp('a');
  for (const service of ['cordoned', 'draining', 'open'] as const) {
    await changeDriveService(parts, 'b1', service);
    const revision = await records.revision();
    await changeDriveService(parts, 'b1', service);
    assert.equal(await records.revision(), revision);
    const cluster = await clusterOf(records, NOBODY_AWAY);
    assert.equal(cluster.spaces.get('b1')?.drive.service, service);
    assert.equal(cluster.spaces.get('a1')?.drive.service, 'open');
  }
  await assert.rejects(changeDriveService(parts, 'b2', 'open'), /did you mean "b1"/i);
});

test('what nothing would move is refused: on a single machine, and volumes that lie on one drive', async () => {
  const single = await setUp(undefined);
  await assert.rejects(
    changeDriveService(single.parts, 'a1', 'draining'),
    refusedFor(/single machine/),
  );
  const { records, parts } = await setUp('a');
  const volume = { name: 'old', id: 'o', drive: 'a1' };
  await records.change({ puts: [{ key: 'volume/old', record: volume }] });
  await assert.rejects(
    changeDriveService(parts, 'a1', 'draining'),
    refusedFor(/"old" lie on it alone/),
  );
  await changeDriveService(parts, 'a1', 'cordoned');
});
