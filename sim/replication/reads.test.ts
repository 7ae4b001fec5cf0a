import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/lib/prng.ts';
import { World } from '../world.ts';
import { Cluster } from './cluster.ts';
import { Requests } from './requests.ts';

test('what only a member can read whose join is not known yet is no error', async () => {
  const world = new World(1);
  const options = { nodeCount: 2, replicaCount: 2, blockCount: 40, sizeBlocks: 40, depth: 4 };
  const mix = { count: Infinity, hotPercent: 0, flushPercent: 10 };
  const cluster = new Cluster(
    world,
    { ...options, thinkUs: 5, stallLimitMs: 600_000 },
    new Requests(new Prng(1), mix),
  );
  const { engines, store, counts } = cluster;
  const memberCount = (): number => store.record.members.size;
  await world.run(() => cluster.serving !== undefined, 'the volume is served');
  cluster.kill(engines[1]!);
  await world.run(() => memberCount() === 1, 'a replica is lost');
  engines[1]!.startProcess();
  store.unknownPercent = 100;
  await world.run(() => memberCount() === 2, 'it is a member again, and the head does not know');
  const [head, other] = engines;
  assert.notEqual(head!.head?.changer.pending, undefined);
  for (const [block, value] of other!.media.taken.blocks.entries()) {
    if (value !== 0) head!.media.rotten.add(block);
  }
  const read = counts.get('answer read ok')!;
  await world.sleep(100_000);
  store.unknownPercent = 0;
  await world.sleep(400_000);
  assert.ok(counts.get('answer read ok')! > read);
  assert.equal(counts.get('answer read error'), undefined);
});
