/** What goes wrong as something rare is under way, which would hardly ever be met by chance. */

import type { Cluster } from './cluster.ts';
import { fillUp, members } from './coincidences.ts';
import { type Fault, later, moveFrom } from './fault.ts';
import { type SimEngine, replicaOf } from './sim-engine.ts';

export const PROMPTED: readonly Pick<Fault, 'name' | 'happen'>[] = [
  {
    // Another one does it anew: some members have what others will not get.
    name: 'a head that makes members equal is lost',
    happen: (cluster) => {
      const engine = opening(cluster);
      if (engine === undefined) return;
      cluster.losePower(engine);
      moveFrom(cluster, engine);
      later(cluster, 3_000_000, () => engine.startProcess());
    },
  },
  {
    name: 'a copy is slow while members are made equal',
    happen: (cluster) => {
      const head = opening(cluster);
      slowDown(cluster, cluster.prng.pick(cluster.engines.filter((each) => each !== head)));
    },
  },
  {
    // They keep a new record late.
    name: 'replicas that are to return are slow',
    happen: (cluster) => {
      for (const engine of cluster.replicas) {
        if (!cluster.store.record.members.has(replicaOf(engine.node))) slowDown(cluster, engine);
      }
    },
  },
  {
    // They have what members refuse.
    name: 'members are full while replicas return',
    happen: (cluster) => fillUp(cluster, 100),
  },
  {
    name: 'a connection breaks while a refusal is copied to all',
    happen: (cluster) => {
      const { prng, serving, world } = cluster;
      const all = members(cluster);
      const isRoom = prng.chance(60);
      for (const engine of all) {
        slowDown(cluster, engine);
        if (isRoom) engine.health.full = false;
      }
      const { node } = prng.pick(all);
      world.schedule(prng.below(40_000), () => serving?.breakConnection(node));
    },
  },
  {
    name: 'another replica is to take the place of one that is gone, and the store loses answers',
    happen: (cluster) => {
      const { engines, prng, replicaNodes, spares, store, world } = cluster;
      const head = engines.findLast((each) => each.head !== undefined)?.head;
      const gone = members(cluster).filter(
        ({ node }) => head?.members.find(replicaOf(node))?.isOpen !== true,
      );
      if (gone.length === 0 || spares.length === 0) return;
      replicaNodes.delete(prng.pick(gone).node);
      replicaNodes.add(prng.pick(spares).node);
      store.unknownPercent = 100;
      world.schedule(700_000 + prng.below(1_500_000), () => {
        store.unknownPercent = 0;
      });
    },
  },
  {
    name: 'one that is gone is back as another replica takes its place',
    happen: ({ engines, network }) => {
      network.heal();
      for (const engine of engines) {
        engine.startProcess();
        if (engine.isPaused) engine.resume();
      }
    },
  },
];

function opening({ engines }: Cluster): SimEngine | undefined {
  return engines.find(({ head, isRunning }) => isRunning && head?.state === 'opening');
}

function slowDown(cluster: Cluster, { health }: SimEngine): void {
  health.slow = true;
  later(cluster, 60_000, () => {
    health.slow = false;
  });
}
