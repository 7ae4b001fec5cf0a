import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { DriveUseKeeper } from './drive-use-keeper.ts';
import { clusterOf } from './placing.ts';

const GIB = 2 ** 30;

/** Node a with drive a1, whose engine says `statuses`; undefined: it is away. Drive b1 is of another node. */
async function setUp() {
  const { records } = memoryRecords();
  const drive = (name: string, node: string) => ({
    key: `drive/${name}`,
    record: { name, node, id: `id-${name}`, path: `/${name}`, state: 'ready', sizeBytes: 9 * GIB },
  });
  const node = { name: 'a', labels: { region: '', zone: '', rack: '' }, service: 'open' };
  await records.change({
    puts: [drive('a1', 'a'), drive('b1', 'b'), { key: 'node/a', record: node }],
  });
  const scene = {
    statuses: undefined as readonly JsonObject[] | undefined,
    nowMs: 1000,
    closed: [] as unknown[],
  };
  const call = async (name: string, { driveId }: JsonObject): Promise<JsonObject> => {
    if (name === 'drive.close') scene.closed.push(driveId);
    if (scene.statuses === undefined) throw new Error('it is silent');
    return { drives: scene.statuses };
  };
  const parts = { records, engine: { call }, log: () => undefined, wallMs: () => scene.nowMs };
  const keeper = new DriveUseKeeper(
    parts as unknown as ConstructorParameters<typeof DriveUseKeeper>[0],
    'a',
  );
  return { scene, keeper, records };
}

const status = (usedBytes: number, state = 'open'): readonly JsonObject[] => [
  { driveId: 'id-a1', state, usedBytes, freeBytes: 10 * GIB - usedBytes },
];

test('how full a drive is becomes known when it changed by a hundredth', async () => {
  const { scene, keeper, records } = await setUp();
  await keeper.look();
  assert.deepEqual(await records.driveUses(), [], 'an engine that is away has no news');
  scene.statuses = status(GIB);
  await keeper.look();
  const [use] = await records.driveUses();
  assert.deepEqual(use, {
    drive: 'a1',
    node: 'a',
    state: 'open',
    sinceMs: 1000,
    usedBytes: GIB,
    freeBytes: 9 * GIB,
  });
  const revision = await records.revision();
  scene.statuses = status(GIB * 1.05);
  await keeper.look();
  assert.equal(await records.revision(), revision);
  scene.statuses = status(GIB * 1.2);
  await keeper.look();
  assert.equal((await records.driveUses())[0]?.usedBytes, GIB * 1.2);
});

test('placement counts on it: what is used, what there is, and since when a drive is faulted', async () => {
  const { scene, keeper, records } = await setUp();
  const seen = { liveness: () => ({ kind: 'up' }) as const, clockOf: (ms: number) => ms + 7 };
  const drive = async () => (await clusterOf(records, seen)).drives()[0];
  assert.equal((await drive())?.capacityBytes, 9 * GIB, 'before it is told: its size');
  scene.statuses = status(3 * GIB);
  await keeper.look();
  const open = await drive();
  assert.deepEqual([open?.writtenBytes, open?.capacityBytes], [3 * GIB, 10 * GIB]);
  assert.equal(open?.downSinceMs, undefined);
  for (const nowMs of [5000, 6000]) {
    scene.nowMs = nowMs;
    scene.statuses = status(3 * GIB, 'faulted');
    await keeper.look();
  }
  assert.equal((await drive())?.downSinceMs, 5007);
});

test('of a drive that is gone nothing is left, and other nodes tell of theirs themselves', async () => {
  const { scene, keeper, records } = await setUp();
  scene.statuses = status(GIB);
  await keeper.look();
  const other = { drive: 'b1', node: 'b', state: 'open', sinceMs: 0, usedBytes: 0, freeBytes: GIB };
  await records.change({ puts: [{ key: 'drive-use/b1', record: other }], deletes: ['drive/a1'] });
  await keeper.look();
  assert.deepEqual(
    (await records.driveUses()).map((use) => use.drive),
    ['b1'],
  );
});

test('a drive that another node has adopted is closed here', async () => {
  const { scene, keeper, records } = await setUp();
  scene.statuses = [{ driveId: 'id-b1', state: 'faulted' }, ...status(GIB)];
  await keeper.look();
  assert.deepEqual(scene.closed, ['id-b1']);
  assert.deepEqual(
    (await records.driveUses()).map((use) => use.drive),
    ['a1'],
  );
});
