/** What goes wrong together, or at the wrong moment: each of it alone is met often, and does little. */

import type { Cluster } from './cluster.ts';
import { type Fault, later, isolate, moveFrom, rest } from './fault.ts';
import { rotWhereTheyDiffer } from './rot.ts';
import { type SimEngine, replicaOf } from './sim-engine.ts';

export const COINCIDENCES: readonly Fault[] = [
  {
    // One of those that a takeover finds lost something; the head that finds it may be lost, too.
    name: 'the machine of the head loses power, and with it another one for a moment',
    weight: 3,
    moods: { takeover: 25 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, prng } = cluster;
      const others = members(cluster).filter((each) => each !== serving);
      if (serving === undefined || others.length < 2) return;
      const other = prng.pick(others);
      cluster.losePower(serving);
      cluster.losePower(other);
      cluster.wantedNode = prng.pick(others).node;
      later(cluster, 2000, () => other.startProcess());
      later(cluster, 3_000_000, () => serving.startProcess());
    },
  },
  {
    name: 'all members but one lose power, and that one cannot read what they lack',
    weight: 2,
    moods: { takeover: 12 },
    happen: (cluster) => {
      const all = members(cluster);
      if (all.length < 2) return;
      const left = cluster.prng.pick(all);
      for (const engine of all) {
        if (engine === left) cluster.kill(engine);
        else cluster.losePower(engine);
        later(cluster, 2000, () => engine.startProcess());
      }
      rotWhereTheyDiffer(cluster, left);
    },
  },
  {
    // It goes on before its grants are over.
    name: 'the head stops, its replicas start anew, and the volume is moved',
    weight: 3,
    moods: { takeover: 25 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, prng, world } = cluster;
      if (serving === undefined) return;
      serving.pause();
      for (const engine of cluster.replicas.filter((each) => each !== serving)) {
        cluster.kill(engine);
        later(cluster, 15_000, () => engine.startProcess());
      }
      moveFrom(cluster, serving);
      world.schedule(100_000 + prng.below(800_000), () => serving.resume());
    },
  },
  {
    name: 'the head is cut off for about as long as its client waits',
    weight: 4,
    needs: 'service',
    happen: (cluster) => {
      const { serving, prng, world, network } = cluster;
      if (serving === undefined) return;
      isolate(cluster, serving);
      world.schedule(1_500_000 + prng.below(500_000), () => network.heal());
    },
  },
  {
    // What it missed is not written over until it is back, and some of it is under way meanwhile.
    name: 'a replica is away for a moment, the drive of the head is slow, and clients rest',
    weight: 4,
    moods: { churn: 40 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, world, network, prng } = cluster;
      const others = members(cluster).filter((each) => each !== serving);
      if (serving === undefined || others.length === 0) return;
      const engine = prng.pick(others);
      const restAfterUs = prng.below(prng.chance(50) ? 3000 : 20_000);
      network.cut(serving.node, engine.node);
      serving.health.slow = true;
      world.schedule(prng.below(6000), () => {
        cluster.kill(engine);
        network.heal();
        later(cluster, 15_000, () => engine.startProcess());
        world.schedule(restAfterUs, () => rest(cluster, 100_000));
        later(cluster, 80_000, () => {
          serving.health.slow = false;
        });
      });
    },
  },
  {
    name: 'several drives are full',
    weight: 4,
    moods: { churn: 12 },
    needs: 'service',
    happen: (cluster) => {
      fillUp(cluster, 60);
    },
  },
];

/** Of the present set. */
export function members({ store, engines }: Cluster): SimEngine[] {
  return engines.filter(({ node }) => store.record.members.has(replicaOf(node)));
}

/** The drives of so many percent of the members. */
export function fillUp(cluster: Cluster, percent: number): void {
  for (const { health } of members(cluster)) {
    if (!cluster.prng.chance(percent)) continue;
    health.full = true;
    later(cluster, 200_000, () => {
      health.full = false;
    });
  }
}
