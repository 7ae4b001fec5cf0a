/** Three nodes, each with its engine and control: a volume on all of them, from its creation over the loss of nodes to its removal. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual as isEqual } from 'node:util';

import { ApiProblem } from '../src/cli/api-client.ts';
import type { ScrubView } from '../src/control/replica-schemas.ts';
import type { VolumeView } from '../src/control/schemas.ts';
import { ESHUTDOWN } from '../src/model/errno.ts';
import { CMD_WRITE } from '../src/wire/nbd/constants.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { until } from './rigs/attach-rig.ts';
import { ClusterRig } from './rigs/cluster-rig.ts';

const MIB = 1024 * 1024;
const cluster = new ClusterRig();

before(() => cluster.start('a', 'b', 'c'));
after(() => cluster.close());

const block = (value: number): Buffer => Buffer.alloc(4096, value);

async function attach(
  node: string,
  options: { force?: boolean; acceptLoss?: boolean } = {},
): Promise<NbdRawClient> {
  const { api } = cluster.node(node);
  const { attachment } = await api.put<VolumeView>('/v1/volumes/db/attachment', {
    as: 'nbd',
    ...options,
  });
  const uri = new URL(attachment?.uri ?? '');
  const socketPath = uri.searchParams.get('socket') ?? '';
  return NbdRawClient.attach(socketPath, { name: attachment?.attachId ?? '' });
}

const statesOf = async (node: string): Promise<Record<string, string>> => {
  const { replicas } = await cluster.node(node).api.get<VolumeView>('/v1/volumes/db');
  return Object.fromEntries(replicas.map((replica) => [replica.node, replica.state]));
};

test('a volume has a replica on each node, and is attached on one', async () => {
  const made = await cluster.node('a').api.post<VolumeView>('/v1/volumes', {
    name: 'db',
    sizeBytes: 16 * MIB,
    replicas: { count: 3, spread: { level: 'zone', isHard: true } },
  });
  assert.deepEqual(
    new Map(made.replicas.map(({ drive, state }) => [drive, state])),
    new Map([
      ['drive-a', 'synced'],
      ['drive-b', 'synced'],
      ['drive-c', 'synced'],
    ]),
  );
  const client = await attach('a');
  await client.write(0, block(1));
  assert.deepEqual(await client.read(0, 8192), Buffer.concat([block(1), block(0)]));
  client.destroy();
  await assert.rejects(attach('b'), (error) => {
    assert(error instanceof ApiProblem);
    return error.problem.code === 'VOLUME_ELSEWHERE';
  });
});

test('its node dies: another takes it, with all that was written; the node that returns is rebuilt', async () => {
  await cluster.killNode('a');
  const client = await attach('b', { force: true });
  assert.deepEqual(await client.read(0, 4096), block(1));
  await client.write(4096, block(2));
  assert.deepEqual(await statesOf('b'), { a: 'stale', b: 'synced', c: 'synced' });

  await cluster.startNode('a');
  await cluster.untilSynced('db', 'b');
  await cluster.killNode('c');
  await client.write(8192, block(3));
  client.destroy();
});

test('the engine of its head dies: the same attachment is served again', async () => {
  const b = cluster.node('b');
  const client = await attach('b');
  await b.kill('engine');
  b.start('engine');
  client.destroy();
  await until(() =>
    attach('b').then(
      (again) => again.destroy() === undefined,
      () => false,
    ),
  );
  const again = await attach('b');
  assert.deepEqual(
    await again.read(0, 16_384),
    Buffer.concat([block(1), block(2), block(3), block(0)]),
  );
  again.destroy();
});

test('a volume whose I/O stands still is detached by force, whoever waits for that', async () => {
  const { api } = cluster.node('b');
  const client = await attach('b');
  await cluster.killNode('a');
  // One of two replicas is too few.
  client.request({ type: CMD_WRITE, offset: MIB, data: block(9) });
  const view = () => api.get<VolumeView>('/v1/volumes/db');
  await until(async () => (await view()).reason?.includes('stands still') === true);
  const inOrder = api.delete<VolumeView>('/v1/volumes/db/attachment');
  await until(async () => (await view()).attachment?.state === 'detaching');
  const forced = await api.delete<VolumeView>('/v1/volumes/db/attachment?force=true');
  assert.equal(forced.attachment, null);
  await inOrder;
  assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 0n, errno: ESHUTDOWN });
  client.destroy();
  await cluster.startNode('a');
  const again = await attach('b');
  assert.deepEqual(await again.read(0, 8192), Buffer.concat([block(1), block(2)]));
  again.destroy();
});

test('two of three are gone: what is left serves once an operator accepts the loss, and the others are made anew', async () => {
  await cluster.killNode('b');
  const client = await attach('a', { acceptLoss: true });
  assert.deepEqual(
    await client.read(0, 16_384),
    Buffer.concat([block(1), block(2), block(3), block(0)]),
  );
  // Asked for again it is the same attachment, and the same lineage.
  (await attach('a', { acceptLoss: true })).destroy();
  await client.write(12_288, block(5));
  // Until its lease has ended, the head tries to reach the one that was just killed.
  const { b, ...others } = await statesOf('a');
  assert.deepEqual(others, { a: 'synced', c: 'stale' });
  assert.notEqual(b, 'synced');
  await cluster.startNode('b');
  await until(async () => (await statesOf('a'))['b'] === 'synced');
  client.destroy();
  const { api } = cluster.node('a');
  await api.post('/v1/volumes/db/scrub', {});
  const scrub = () => api.get<ScrubView>('/v1/volumes/db/scrub');
  await until(async () => (await scrub()).endedAt !== null);
  assert.deepEqual((await scrub()).copies, { repaired: 0, differed: 0, unreadable: 0 });
});

test('it grows, is detached, moves, and is removed: on a node that was away as soon as that is back', async () => {
  await cluster.node('a').api.delete('/v1/volumes/db/attachment');
  const grown = await cluster.node('a').api.patch<VolumeView>('/v1/volumes/db', {
    sizeBytes: 24 * MIB,
  });
  assert.equal(grown.sizeBytes, 24 * MIB);
  const client = await attach('a');
  await client.write(20 * MIB, block(4));
  client.destroy();
  await cluster.node('a').api.delete('/v1/volumes/db/attachment');

  // Nobody has it attached.
  const { api: other } = cluster.node('a');
  await cluster.start('d');
  await other.post('/v1/volumes/db/replicas/move', { from: 'c' });
  await until(async () =>
    isEqual(await statesOf('a'), { a: 'synced', b: 'synced', d: 'synced', c: 'removing' }),
  );
  await other.put('/v1/volumes/db/replicas', { count: 2 });
  await until(async () => Object.keys(await statesOf('a')).length === 3);
  await cluster.startNode('c');
  await until(async () => Object.keys(await statesOf('a')).length === 2);

  const last = await attach('d');
  assert.deepEqual(await last.read(20 * MIB, 4096), block(4));
  last.destroy();
  await cluster.node('d').api.delete('/v1/volumes/db/attachment');
  await other.delete('/v1/volumes/db?now=true');
  for (const node of ['a', 'b', 'c', 'd']) {
    await until(async () => {
      const { volumes } = await cluster.node(node).engine.call('volume.list', {});
      return Array.isArray(volumes) && volumes.length === 0;
    });
  }
});
