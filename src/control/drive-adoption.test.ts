import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { drivePartsOf, memoryRecords } from '../../test/rigs/memory-records.ts';
import { nodeFileOf } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { Drives } from './drives.ts';

const ID = '11111111-2222-3333-4444-555555555555';
const CLUSTER = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const REPLICAS = ['r1', 'r2'];

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-adoption-'));
const peer = { host: '127.0.0.1', port: 7171 };
const identity = { version: 1, cluster: CLUSTER, node: 'a', labels: {}, peer };
fs.writeFileSync(nodeFileOf(directory), JSON.stringify(identity));
after(() => fs.rmSync(directory, { recursive: true }));

/** Node a, at whose path /moved drive b1 of node b lies, which was opened nine times. An engine that does what it is told. */
async function setUp() {
  const { store, records } = memoryRecords();
  const scene = {
    identity: {
      driveUuid: ID.replaceAll('-', ''),
      generation: 0,
      incarnation: 9,
    } as JsonObject,
    opened: [] as JsonObject[],
  };
  const call = async (name: string, args: JsonObject): Promise<JsonObject> => {
    if (name === 'drive.identify') return scene.identity;
    if (name === 'drive.open') scene.opened.push(args);
    const drives = scene.opened.map(({ driveId }) => ({ driveId, state: 'open' }));
    const replicas = REPLICAS.map((replica) => ({ replica, life: 1 }));
    return { drives, replicas, more: false };
  };
  const parts = drivePartsOf(directory, records, call);
  const use = { drive: 'b1', node: 'b', state: 'open', incarnation: 9, sinceMs: 0 };
  await records.change({
    puts: [
      { key: 'drive/b1', record: { name: 'b1', id: ID, node: 'b', path: '/b1', state: 'ready' } },
      { key: 'drive-use/b1', record: use },
      ...REPLICAS.map((id) => ({
        key: `replica/${id}`,
        record: { id, drive: 'b1', node: 'b', volume: 'db', volumeId: 'v', state: 'ready' },
      })),
    ],
  });
  const live = async (): Promise<void> => {
    const leaseId = await store.grantLease(60_000);
    await records.change({ puts: [{ key: 'alive/b', record: { node: 'b' }, leaseId }] });
  };
  return { records, parts, scene, use, live, drives: new Drives(parts) };
}

const refusedAs =
  (code: string, words = /./) =>
  (error: unknown): boolean =>
    error instanceof Refusal && error.code === code && words.test(error.message);

test('a drive whose node is gone is adopted with its replicas, in a new generation; the same again is done', async () => {
  const { records, scene, drives } = await setUp();
  await drives.adopt('/moved');
  const { node, path: at, generation, state, made } = (await records.drive('b1'))?.record ?? {};
  assert.deepEqual([node, at, generation, state, made], ['a', '/moved', 1, 'ready', false]);
  const nodes = (await records.replicas()).map((replica) => replica.node);
  assert.deepEqual(nodes, ['a', 'a']);
  assert.deepEqual(scene.opened, [{ driveId: ID, path: '/moved', generation: 1 }]);
  assert.deepEqual(await records.driveUses(), [], 'what its former node told is no longer so');
  const list = JSON.parse(fs.readFileSync(path.join(directory, 'engine.json'), 'utf8'));
  assert.equal(list.drives[0].generation, 1);
  const [operation] = await records.operations();
  assert.deepEqual([operation?.kind, operation?.state], ['drive.adopt', 'done']);
  await drives.adopt('/moved');
  assert.equal(scene.opened.length, 1);
});

test('a drive has a higher generation than it had, whatever restored records know', async () => {
  const { records, scene, drives } = await setUp();
  scene.identity = { ...scene.identity, generation: 4 };
  await drives.adopt('/moved');
  assert.equal((await records.drive('b1'))?.record.generation, 5);
});

test('an adoption that was cut short goes on', async () => {
  const { records, parts, scene, drives } = await setUp();
  const dying = {
    ...parts,
    onStep: (step: string) => assert.notEqual(step, 'drive.adopt: opened'),
  };
  await assert.rejects(new Drives(dying).adopt('/moved'), assert.AssertionError);
  assert.equal((await records.drive('b1'))?.record.state, 'adopting');
  await drives.settle('b1');
  assert((await records.replicas()).every(({ node }) => node === 'a'));
  const { state, generation } = (await records.drive('b1'))?.record ?? {};
  assert.deepEqual([state, generation], ['ready', 1]);
  assert.deepEqual(new Set(scene.opened.map((each) => each['generation'])), new Set([1]));
});

test('an adoption by a node that died over it is taken over', async () => {
  const { records, drives } = await setUp();
  const kept = await records.drive('b1');
  assert(kept !== undefined);
  await records.putDrive({ ...kept.record, state: 'adopting', generation: 1 }, kept.version);
  await drives.adopt('/moved');
  const { node, generation } = (await records.drive('b1'))?.record ?? {};
  assert.deepEqual([node, generation], ['a', 2]);
});

test('a drive that a living node has open stays its; one that it has no longer is adopted', async () => {
  const { records, use, live, drives } = await setUp();
  const change = records.change.bind(records);
  // It is back as the adoption is recorded.
  records.change = async (wanted) => {
    records.change = change;
    await live();
    return change(wanted);
  };
  await assert.rejects(drives.adopt('/moved'), refusedAs('DRIVE_HELD', /node "b"/));
  await records.change({ deletes: ['drive-use/b1'] });
  await assert.rejects(drives.adopt('/moved'), refusedAs('DRIVE_HELD'), 'it has not told yet');
  assert.equal((await records.drive('b1'))?.record.node, 'b');
  await records.change({
    puts: [{ key: 'drive-use/b1', record: { ...use, state: 'faulted' } }],
  });
  await drives.adopt('/moved');
  assert.equal((await records.drive('b1'))?.record.node, 'a');
});

test('what is none of this cluster, or not the drive itself, is refused by name', async () => {
  const { parts, records, scene, drives } = await setUp();
  const revision = await records.revision();
  const own = scene.identity;
  scene.identity = { ...own, incarnation: 8 };
  await assert.rejects(drives.adopt('/moved'), refusedAs('DRIVE_COPY', /"b1"/));
  scene.identity = { ...own, clusterUuid: '0'.repeat(32) };
  await assert.rejects(drives.adopt('/moved'), refusedAs('DRIVE_FOREIGN', /of cluster 000/));
  scene.identity = { ...own, driveUuid: 'f'.repeat(32) };
  await assert.rejects(drives.adopt('/moved'), refusedAs('DRIVE_FOREIGN', /no drive fff/));
  const single = { ...parts, installation: { ...parts.installation, directory: os.tmpdir() } };
  await assert.rejects(new Drives(single).adopt('/moved'), refusedAs('INPUT_INVALID'));
  assert.equal(await records.revision(), revision);
});
