/** A volume with a replica on each of three engines, which die and hang in turn while a client writes; the test keeps the record. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { nodeFileOf } from '../src/env/node/node-identity.ts';
import type { JsonObject } from '../src/wire/line-protocol.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { until } from './rigs/attach-rig.ts';
import { type ClusterMember, EngineCluster } from './rigs/engine-cluster.ts';
import { RecordKeeper } from './rigs/record-keeper.ts';

const MIB = 1024 * 1024;
const SIZE = 4 * MIB;
const BLOCK = 4096;
const READ = 256 * 1024;
/** Bounds of a stall, ms, tenfold: other tests take the cores. */
const KILLED_MS = 250 * 10;
const HUNG_MS = 2000 * 10;
const ATTACH = 'a7'.repeat(16);

const cluster = new EngineCluster({
  sealed: true,
  driveBytes: 128 * MIB,
  isSparse: true,
  volumeBytes: SIZE,
});
const [a, b, c] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
const expected = Buffer.alloc(SIZE);
let keeper: RecordKeeper;

before(async () => {
  await cluster.start();
  keeper = new RecordKeeper({ uuid: 'e0'.repeat(16), attachId: ATTACH, sizeBytes: SIZE }, [
    ...cluster.lives,
  ]);
});

after(async () => {
  keeper.stop();
  await cluster.remove();
});

async function serve({ engine, replica }: ClusterMember): Promise<NbdRawClient> {
  const socketPath = await keeper.serve(engine, replica, cluster.places);
  return NbdRawClient.attach(socketPath, { name: keeper.volume.attachId });
}

const members = (): string[] =>
  keeper.record.members.map(([replica]) => cluster.places[replica] ?? '').toSorted();

/** Writes one block after the other until `done`, and for as long as it takes; the longest that one took, ms. */
async function writeUntil(client: NbdRawClient, done: () => boolean): Promise<number> {
  let longestMs = 0;
  for (let count = 0; count < 20 || !done(); count += 1) {
    const block = (count * 7) % (SIZE / BLOCK);
    const data = Buffer.alloc(BLOCK, 1 + ((count + keeper.record.epoch) % 255));
    const startedMs = performance.now();
    await client.write(block * BLOCK, data);
    longestMs = Math.max(longestMs, performance.now() - startedMs);
    data.copy(expected, block * BLOCK);
  }
  return longestMs;
}

/** Asks until it is done: a head that is busy with its set forgets the wish. */
async function rebuild(head: ClusterMember, { replica, node }: ClusterMember): Promise<void> {
  const { uuid } = keeper.volume;
  await head.engine.call('head.rebuild', { uuid, replica, node });
  await until(() => members().includes(node));
}

async function detach({ engine }: ClusterMember): Promise<void> {
  const { uuid, attachId } = keeper.volume;
  assert.deepEqual(await engine.call('head.detach', { uuid, attachId }), { end: 'detached' });
}

test('engines that die and hang cost a stall, and no write; what returns is rebuilt, and all are equal', async () => {
  let client = await serve(a);
  await writeUntil(client, () => true);

  await c.engine.end('SIGKILL');
  assert.ok((await writeUntil(client, () => members().length === 2)) < KILLED_MS);
  assert.deepEqual(members(), ['a', 'b']);
  await cluster.restart(c);
  await rebuild(a, c);

  assert.ok(b.engine.pid !== undefined);
  process.kill(b.engine.pid, 'SIGSTOP');
  assert.ok((await writeUntil(client, () => members().length === 2)) < HUNG_MS);
  process.kill(b.engine.pid, 'SIGCONT');
  await rebuild(a, b);
  await writeUntil(client, () => true);

  await a.engine.end('SIGKILL');
  client.destroy();
  keeper.attach('b8'.repeat(16));
  client = await serve(b);
  await writeUntil(client, () => members().length === 2);
  await cluster.restart(a);
  await rebuild(b, a);
  await writeUntil(client, () => true);
  client.destroy();
  await detach(b);

  // A head reads from the replica beside it.
  for (const [index, member] of cluster.members.entries()) {
    keeper.attach(`c${index}`.repeat(16));
    client = await serve(member);
    for (let at = 0; at < SIZE; at += READ) {
      const read = await client.read(at, READ);
      assert.equal(Buffer.compare(read, expected.subarray(at, at + READ)), 0, member.node);
    }
    client.destroy();
    await detach(member);
  }
});

test('a head without a replica beside it serves', async () => {
  const lives: [string, number][] = [];
  const places: Record<string, string> = {};
  for (const [index, { node, engine, drive }] of [b, c].entries()) {
    const replica = `${index + 4}`.repeat(32);
    const made = { driveId: drive.driveId, replica, sizeBytes: SIZE };
    const { life } = await engine.call('replica.create', made);
    lives.push([replica, Number(life)]);
    places[replica] = node;
  }
  const volume = { uuid: 'e1'.repeat(16), attachId: 'd0'.repeat(16), sizeBytes: SIZE };
  const other = new RecordKeeper(volume, lives);
  const socketPath = await other.serve(a.engine, undefined, places);
  const client = await NbdRawClient.attach(socketPath, { name: volume.attachId });
  await client.write(0, Buffer.alloc(BLOCK, 77));
  assert.deepEqual(await client.read(0, BLOCK), Buffer.alloc(BLOCK, 77));
  client.destroy();
  other.stop();
});

test('an engine whose node.json is broken serves its drives, and says what is wrong', async () => {
  await c.engine.end('SIGTERM');
  writeFileSync(nodeFileOf(c.engine.folder), '{"version":1}');
  await c.engine.start();
  const { warnings } = await c.engine.call('hello', { protocol: 1 });
  assert.match(String(warnings), /node\.json/);
  const { drives } = await c.engine.call('drive.list');
  assert.equal((drives as JsonObject[])[0]?.['state'], 'open');
  await assert.rejects(c.engine.call('peers.set', { nodes: [] }), /of no node of a cluster/);
});
