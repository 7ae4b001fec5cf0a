/** Two nodes: a drive is replaced while its volume is written, and one is adopted from a node that died. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { ApiProblem } from '../src/cli/api-client.ts';
import type { DriveView } from '../src/control/drive-schemas.ts';
import type { VolumeView } from '../src/control/schemas.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { until } from './rigs/attach-rig.ts';
import { ClusterRig } from './rigs/cluster-rig.ts';

const MIB = 1024 * 1024;
const cluster = new ClusterRig();

before(() => cluster.start('a', 'b'));
after(() => cluster.close());

const block = (value: number): Buffer => Buffer.alloc(4096, value);

async function create(name: string, count: number): Promise<void> {
  const replicas = { count, spread: { level: 'node', isHard: false } };
  const volume = { name, sizeBytes: 16 * MIB, replicas };
  // On a machine that others load a node may be away for a moment.
  await until(() =>
    cluster
      .node('a')
      .api.post<VolumeView>('/v1/volumes', volume)
      .then(
        () => true,
        () => false,
      ),
  );
}

async function attach(name: string): Promise<NbdRawClient> {
  const { attachment } = await cluster
    .node('a')
    .api.put<VolumeView>(`/v1/volumes/${name}/attachment`, { as: 'nbd' });
  const socketPath = new URL(attachment?.uri ?? '').searchParams.get('socket') ?? '';
  return NbdRawClient.attach(socketPath, { name: attachment?.attachId ?? '' });
}

const placesOf = async (name: string): Promise<Record<string, string>> => {
  const { replicas } = await cluster.node('a').api.get<VolumeView>(`/v1/volumes/${name}`);
  return Object.fromEntries(replicas.map(({ drive, node, state }) => [drive, `${node} ${state}`]));
};

test('a drive is replaced under a volume that is in use', async () => {
  await create('db', 2);
  const client = await attach('db');
  await client.write(0, block(1));
  const b = cluster.node('b');
  await assert.rejects(
    b.api.delete('/v1/drives/drive-b'),
    (error) =>
      error instanceof ApiProblem && /drive drain drive-b/.test(error.problem.wayOut ?? ''),
  );
  const old = path.join(b.installation.directory, 'drives', 'drive-b.img');
  const view = await b.api.post<DriveView>('/v1/drives/drive-b/replace', {
    path: path.join(b.directory, 'new.img'),
  });
  assert.deepEqual([view.name, view.node, view.state], ['drive-b-2', 'b', 'open']);
  assert.deepEqual(await placesOf('db'), {
    'drive-a': 'a synced',
    'drive-b-2': 'b synced',
  });
  assert(!fs.existsSync(old), 'the file that Holdfast made is gone');
  assert.deepEqual(await client.read(0, 4096), block(1));
  client.destroy();
});

test('a drive of a node that died is adopted: what waited for it goes on, and what it missed is rebuilt', async () => {
  const { api, directory } = cluster.node('a');
  await api.patch('/v1/drives/drive-a', { service: 'cordoned' });
  await create('single', 1);
  assert.deepEqual(await placesOf('single'), { 'drive-b-2': 'b synced' });
  const [db, single] = [await attach('db'), await attach('single')];
  await single.write(0, block(2));
  await cluster.killNode('b');
  await db.write(4096, block(3));
  const waiting = single.write(4096, block(4));

  const moved = path.join(directory, 'moved.img');
  fs.renameSync(path.join(cluster.node('b').directory, 'new.img'), moved);
  // Refused for as long as its node counts as living.
  await until(() =>
    api.post<DriveView>('/v1/drives/adopt', { path: moved }).then(
      () => true,
      (error) => {
        assert(error instanceof ApiProblem && error.problem.code === 'DRIVE_HELD');
        return false;
      },
    ),
  );
  await waiting;
  await cluster.untilSynced('db', 'a');
  assert.equal((await placesOf('db'))['drive-b-2'], 'a synced');
  assert.deepEqual(await single.read(0, 12_288), Buffer.concat([block(2), block(4), block(0)]));
  db.destroy();
  single.destroy();

  // Its former node has it no longer, whatever its engine was to open.
  await cluster.startNode('b');
  const { engine } = cluster.node('b');
  await until(async () => {
    const { drives } = await engine.call('drive.list', {});
    return Array.isArray(drives) && drives.length === 0;
  });
});
