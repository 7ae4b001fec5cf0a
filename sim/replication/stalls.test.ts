/** How long I/O stands still after each failure of ../shared/design.md, section 5: in virtual time, so that the figures are the protocol's own. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/lib/prng.ts';
import { World } from '../world.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { Requests } from './requests.ts';

const SEEDS = 4;

const OPTIONS: ClusterOptions = {
  nodeCount: 3,
  replicaCount: 3,
  blockCount: 200,
  sizeBlocks: 200,
  depth: 4,
  thinkUs: 5,
  stallLimitMs: 600_000,
};

const newCluster = (world: World, options = OPTIONS): Cluster => {
  const mix = { count: Infinity, hotPercent: 0, flushPercent: 10 };
  return new Cluster(world, options, new Requests(new Prng(1), mix));
};

type Case = {
  readonly name: string;
  readonly limitMs: number;
  readonly happen: (cluster: Cluster) => void;
  /** What must have become of it. */
  readonly isOver: (cluster: Cluster) => boolean;
};

const memberCount = (cluster: Cluster): number => cluster.store.record.members.size;

const cutOff = (cluster: Cluster, node: number): void => {
  for (const other of cluster.engines) {
    cluster.network.cut(node, other.node);
    cluster.network.cut(other.node, node);
  }
};

/** The volume is attached on node 0; replicas are on nodes 0 to 2. */
const CASES: readonly Case[] = [
  {
    name: "a replica's process is killed",
    limitMs: 250,
    happen: (cluster) => cluster.kill(cluster.engines[1]!),
    isOver: (cluster) => memberCount(cluster) === 2,
  },
  {
    name: 'a replica is cut off',
    limitMs: 2000,
    happen: (cluster) => cutOff(cluster, 1),
    isOver: (cluster) => memberCount(cluster) === 2,
  },
  {
    name: 'the drive of a replica hangs',
    limitMs: 2000,
    happen: (cluster) => {
      cluster.engines[1]!.health.hung = true;
    },
    isOver: (cluster) => memberCount(cluster) === 2,
  },
  {
    name: "the head's engine is killed and starts again",
    limitMs: 2000,
    happen: (cluster) => {
      cluster.kill(cluster.engines[0]!);
      cluster.world.schedule(300_000, () => cluster.engines[0]!.startProcess());
    },
    isOver: (cluster) => cluster.serving?.node === 0 && memberCount(cluster) === 3,
  },
  {
    name: "the head's machine vanishes, and the volume is attached elsewhere at once",
    limitMs: 3000,
    happen: (cluster) => {
      cutOff(cluster, 0);
      cluster.losePower(cluster.engines[0]!);
      cluster.wantedNode = 1;
    },
    isOver: (cluster) => cluster.serving?.node === 1,
  },
  {
    name: 'the head is cut off, and the volume is attached elsewhere at once',
    limitMs: 3000,
    happen: (cluster) => {
      cutOff(cluster, 0);
      cluster.wantedNode = 1;
    },
    isOver: (cluster) => cluster.serving?.node === 1,
  },
  {
    name: 'the store is away',
    limitMs: 100,
    happen: (cluster) => {
      cluster.store.isAway = true;
    },
    isOver: () => true,
  },
  {
    name: 'an engine stops for 200 ms',
    limitMs: 300,
    happen: (cluster) => {
      cluster.engines[1]!.pause();
      cluster.world.schedule(200_000, () => cluster.engines[1]!.resume());
    },
    isOver: (cluster) => memberCount(cluster) === 3,
  },
];

for (const { name, limitMs, happen, isOver } of CASES) {
  test(`${name}: I/O stands still for at most ${limitMs} ms`, async (context) => {
    let worstMs = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const world = new World(seed);
      const cluster = newCluster(world);
      await world.run(() => cluster.serving !== undefined, 'the volume is served');
      await world.sleep(1_000_000);
      cluster.longestGapUs = 0;
      happen(cluster);
      await world.sleep(4_000_000);
      const gapMs = cluster.longestGapUs / 1000;
      assert.ok(isOver(cluster), `seed ${seed}: ${cluster.describe().join('\n')}`);
      worstMs = Math.max(worstMs, gapMs);
      assert.ok(gapMs > 0 && gapMs <= limitMs, `seed ${seed}: ${gapMs} ms`);
    }
    context.diagnostic(`longest of ${SEEDS} seeds: ${worstMs.toFixed(0)} ms`);
  });
}

test('a session that stands still for its limit ends: all its requests fail, and the next one serves', async () => {
  const world = new World(1);
  const cluster = newCluster(world, { ...OPTIONS, stallLimitMs: 3000 });
  await world.run(() => cluster.serving !== undefined, 'the volume is served');
  await world.sleep(500_000);
  const { client, store } = cluster;
  const attachId = store.record.attachment?.attachId;
  for (const node of [1, 2]) cutOff(cluster, node);
  await world.sleep(2_900_000);
  assert.equal(client?.isOver, false);
  await world.sleep(1_800_000);
  assert.equal(client?.isOver, true);
  assert.equal(cluster.counts.get('head ended: given up'), 1);
  cluster.network.heal();
  await world.run(() => cluster.serving !== undefined && cluster.client !== client, 'it serves');
  assert.notEqual(store.record.attachment?.attachId, attachId);
});

test('a replica that is back takes the place of a member that is gone, where S would be too small without', async () => {
  const world = new World(2);
  const cluster = newCluster(world);
  const { engines, store } = cluster;
  const isS = (...replicas: string[]): boolean =>
    [...store.record.members.keys()].toSorted().join() === replicas.join();
  await world.run(() => cluster.serving !== undefined, 'the volume is served');
  cluster.kill(engines[2]!);
  await world.run(() => isS('r0', 'r1'), 'one is lost');
  await world.sleep(300_000);
  cluster.kill(engines[1]!);
  await world.sleep(2_000_000);
  assert.ok(isS('r0', 'r1'));
  engines[2]!.startProcess();
  await world.run(() => isS('r0', 'r2'), 'the other one takes its place');
  cluster.longestGapUs = 0;
  await world.sleep(1_000_000);
  assert.ok(cluster.longestGapUs > 0, 'I/O goes on');
  engines[1]!.startProcess();
  await world.run(() => isS('r0', 'r1', 'r2'), 'all are members again');
});
