/** What goes wrong, drawn from the seed: processes, machines, links, the store, drives, and people who move the volume. */

import type { Cluster } from './cluster.ts';
import { COINCIDENCES } from './coincidences.ts';
import { DRIVE_FAULTS } from './drive-faults.ts';
import { type Fault, draw, isolate, later, moveFrom, rest, soon, stutter } from './fault.ts';
import { type SimEngine, replicaOf } from './sim-engine.ts';

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill an engine',
    weight: 18,
    moods: { takeover: 60 },
    happen: (cluster) => {
      const engine = draw(cluster);
      cluster.kill(engine);
      soon(cluster, 600_000, () => engine.startProcess());
    },
  },
  {
    name: 'a machine loses power',
    weight: 12,
    happen: (cluster) => {
      const engine = draw(cluster);
      cluster.losePower(engine);
      later(cluster, 2_500_000, () => engine.startProcess());
    },
  },
  {
    name: 'a replica is killed for a moment',
    weight: 8,
    moods: { churn: 60 },
    happen: (cluster) => {
      const others = cluster.replicas.filter(({ head }) => head === undefined);
      if (others.length === 0) return;
      const engine = cluster.prng.pick(others);
      cluster.kill(engine);
      soon(cluster, 100_000, () => engine.startProcess());
    },
  },
  {
    name: 'a replica is killed before it hears of changes that another drive is slow with',
    weight: 4,
    moods: { churn: 30 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, world, network } = cluster;
      const others = cluster.replicas.filter((each) => each !== serving);
      if (serving === undefined || others.length === 0) return;
      const engine = cluster.prng.pick(others);
      network.cut(serving.node, engine.node);
      serving.health.slow = true;
      world.schedule(cluster.prng.below(3000), () => {
        cluster.kill(engine);
        network.heal();
        later(cluster, 60_000, () => engine.startProcess());
        later(cluster, 100_000, () => {
          serving.health.slow = false;
        });
      });
    },
  },
  {
    name: 'the machine of the head vanishes, and another one is in trouble',
    weight: 4,
    moods: { takeover: 25 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, world, options } = cluster;
      if (serving === undefined || options.replicaCount < 3) return;
      const others = cluster.replicas.filter((each) => each !== serving);
      const away = cluster.prng.pick(others);
      if (cluster.prng.chance(60)) isolate(cluster, away);
      else stutter(cluster, away);
      world.schedule(cluster.prng.below(20_000), () => {
        cluster.losePower(serving);
        cluster.wantedNode = cluster.prng.pick(others.filter((each) => each !== away)).node;
        later(cluster, 3_000_000, () => serving.startProcess());
      });
      // Back shortly after the takeover it brings with it what was on its way, before much was written over that.
      const afterwardsUs = 900_000 + cluster.prng.below(250_000);
      if (cluster.prng.chance(40)) rest(cluster, afterwardsUs + 100_000);
      world.schedule(cluster.prng.chance(60) ? afterwardsUs : 4_000_000, () =>
        cluster.network.heal(),
      );
    },
  },
  {
    name: 'the head hears nothing, and the volume is moved',
    weight: 6,
    moods: { takeover: 40 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, world, network } = cluster;
      if (serving === undefined) return;
      const isDeafOnly = cluster.prng.chance(70);
      for (const { node } of cluster.engines) {
        network.cut(node, serving.node);
        if (!isDeafOnly) network.cut(serving.node, node);
      }
      world.schedule(cluster.prng.below(300_000), () => {
        moveFrom(cluster, serving);
        // Long enough for the grants to end, and not for the head to give up on what it asked.
        world.schedule(1_000_000 + cluster.prng.below(450_000), () => network.heal());
      });
    },
  },
  {
    name: 'the volume is moved to a node that reaches the others late',
    weight: 4,
    moods: { takeover: 25 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, world, network } = cluster;
      if (serving === undefined) return;
      const next = moveFrom(cluster, serving);
      isolate(cluster, next);
      // By then it waits for nobody any more.
      world.schedule(1_050_000 + cluster.prng.below(400_000), () => {
        network.heal();
        const isKnown = cluster.prng.chance(50);
        if (!isKnown) isolate(cluster, serving);
        network.cut(next.node, serving.node);
        network.cut(serving.node, next.node);
        for (const other of cluster.engines) {
          if (isKnown || other === serving || other === next) continue;
          cluster.kill(other);
          later(cluster, 15_000, () => other.startProcess());
        }
        later(cluster, 2_500_000, () => network.heal());
      });
    },
  },
  {
    name: 'a machine loses power for a moment',
    weight: 8,
    moods: { churn: 30, takeover: 20 },
    happen: (cluster) => {
      const engine = draw(cluster);
      cluster.losePower(engine);
      later(cluster, 2000, () => engine.startProcess());
    },
  },
  {
    name: 'all machines lose power',
    weight: 4,
    happen: (cluster) => {
      for (const engine of cluster.engines) {
        cluster.losePower(engine);
        later(cluster, 1_500_000, () => engine.startProcess());
      }
    },
  },
  {
    name: 'a node is cut off',
    weight: 12,
    happen: (cluster) => {
      isolate(cluster, draw(cluster));
      later(cluster, 3_500_000, () => cluster.network.heal());
    },
  },
  {
    name: 'one link is cut one way',
    weight: 8,
    happen: (cluster) => {
      cluster.network.cut(draw(cluster).node, draw(cluster).node);
      later(cluster, 2_500_000, () => cluster.network.heal());
    },
  },
  {
    name: 'a connection breaks',
    weight: 10,
    moods: { churn: 60 },
    needs: 'service',
    happen: (cluster) => cluster.serving?.breakConnection(draw(cluster).node),
  },
  {
    name: 'an engine stops and goes on',
    weight: 10,
    happen: (cluster) => {
      const engine = draw(cluster);
      engine.pause();
      later(cluster, 3_000_000, () => engine.resume());
    },
  },
  {
    name: 'the store is away',
    weight: 6,
    happen: (cluster) => {
      cluster.store.isAway = true;
      later(cluster, 1_500_000, () => {
        cluster.store.isAway = false;
      });
    },
  },
  {
    name: 'the store loses answers',
    weight: 8,
    happen: (cluster) => {
      cluster.store.unknownPercent = 60;
      later(cluster, 3_000_000, () => {
        cluster.store.unknownPercent = 0;
      });
    },
  },
  {
    name: 'all machines but one lose power, and the loss is accepted',
    weight: 3,
    happen: (cluster) => {
      const { prng, replicas, serving, store, world } = cluster;
      // Rather one that lacks something, or that does because it was away before.
      const behind = replicas.filter(({ node }) => !store.record.members.has(replicaOf(node)));
      const apart = replicas.filter((each) => each !== serving);
      if (behind.length > 0 && prng.chance(70)) loseAllBut(cluster, prng.pick(behind));
      else if (serving !== undefined && apart.length > 0 && prng.chance(70)) {
        const left = prng.pick(apart);
        cluster.kill(left);
        world.schedule(5000 + prng.below(300_000), () => loseAllBut(cluster, left));
      } else loseAllBut(cluster, prng.pick(replicas));
    },
  },
  {
    name: 'the volume is scrubbed',
    weight: 6,
    needs: 'service',
    happen: ({ serving, prng }) =>
      serving?.head?.startScrub({
        offsetBytes: 0,
        bytesPerSecond: prng.chance(50) ? 1e9 : 10e6,
      }),
  },
  {
    name: 'the volume is moved by force',
    weight: 10,
    moods: { takeover: 60 },
    happen: (cluster) => {
      cluster.wantedNode = draw(cluster).node;
    },
  },
  {
    name: 'a replica is moved',
    weight: 8,
    moods: { churn: 20 },
    needs: 'spare',
    happen: moveReplica,
  },
  {
    name: 'the volume is grown',
    weight: 8,
    needs: 'service',
    happen: (cluster) => cluster.grow(),
  },
  {
    name: 'another number of replicas is wanted',
    weight: 5,
    needs: 'service',
    happen: (cluster) => cluster.changeMinimum(),
  },
  {
    name: 'the volume is detached and attached elsewhere',
    weight: 6,
    needs: 'service',
    happen: (cluster) => {
      const { serving } = cluster;
      cluster.wantedNode = draw(cluster).node;
      if (serving?.head?.state !== 'serving') return;
      cluster.client?.rest();
      serving.ask('detach', (head) => head.detach());
    },
  },
  ...DRIVE_FAULTS,
  ...COINCIDENCES,
];

/** An operator brings the volume up from what one replica has. */
function loseAllBut(cluster: Cluster, left: SimEngine): void {
  for (const engine of cluster.engines) {
    if (engine === left) cluster.kill(engine);
    else {
      cluster.losePower(engine);
      later(cluster, 2_500_000, () => engine.startProcess());
    }
  }
  cluster.wantedNode = left.node;
  cluster.acceptLoss(left);
  later(cluster, 15_000, () => left.startProcess());
}

/** To a node that has none, if there is one. */
function moveReplica(cluster: Cluster): void {
  const { prng, replicaNodes, replicas, spares } = cluster;
  if (spares.length === 0) return;
  replicaNodes.delete(prng.pick(replicas).node);
  replicaNodes.add(prng.pick(spares).node);
}

/** Everything is well again. */
export function mend(cluster: Cluster): void {
  cluster.network.heal();
  cluster.store.isAway = false;
  cluster.store.unknownPercent = 0;
  const intact = [...cluster.store.record.members].filter(
    ([replica, life]) => cluster.engineOf(replica).media.life === life,
  );
  for (const engine of cluster.engines) {
    // What is bad on the only one that is intact is lost: somebody brings it back.
    if (intact.length <= 1) engine.media.rotten.clear();
    engine.health.slow = false;
    engine.health.stuttering = false;
    engine.health.full = false;
    engine.health.failing = false;
    engine.startProcess();
    if (engine.health.hung) {
      engine.health.hung = false;
      engine.content?.resume();
    }
    if (engine.isPaused) engine.resume();
  }
}
