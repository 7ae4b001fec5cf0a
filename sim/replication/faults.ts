/** What goes wrong, drawn from the seed: processes, machines, links, the store, drives, and people who move the volume. */

import type { Cluster } from './cluster.ts';
import type { SimEngine } from './sim-engine.ts';

/** What a history is about: everything; replicas that come and go; heads that do. */
export type Mood = 'any' | 'churn' | 'takeover';

type Fault = {
  readonly name: string;
  readonly weight: number;
  /** In place of the weight. */
  readonly moods?: Partial<Record<Mood, number>>;
  /** It makes sense only while a head serves. */
  readonly needsService?: true;
  readonly happen: (cluster: Cluster) => void;
};

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
      const others = cluster.engines
        .slice(0, cluster.options.replicaCount)
        .filter(({ head }) => head === undefined);
      if (others.length === 0) return;
      const engine = cluster.world.prng.pick(others);
      cluster.kill(engine);
      soon(cluster, 100_000, () => engine.startProcess());
    },
  },
  {
    name: 'the machine of the head vanishes, and another is cut off',
    weight: 4,
    moods: { takeover: 25 },
    needsService: true,
    happen: (cluster) => {
      const { serving, world, options } = cluster;
      if (serving === undefined || options.replicaCount < 3) return;
      const others = cluster.engines
        .slice(0, options.replicaCount)
        .filter((each) => each !== serving);
      const away = world.prng.pick(others);
      for (const other of cluster.engines) {
        cluster.network.cut(away.node, other.node);
        cluster.network.cut(other.node, away.node);
      }
      cluster.losePower(serving);
      cluster.wantedNode = world.prng.pick(others.filter((each) => each !== away)).node;
      later(cluster, 3_000_000, () => serving.startProcess());
      // Back shortly after the takeover it brings with it what was on its way, before much was written over that.
      const afterwardsUs = 900_000 + world.prng.below(250_000);
      world.schedule(world.prng.chance(60) ? afterwardsUs : 4_000_000, () =>
        cluster.network.heal(),
      );
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
      const { node } = draw(cluster);
      for (const other of cluster.engines) {
        cluster.network.cut(node, other.node);
        cluster.network.cut(other.node, node);
      }
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
    name: 'a drive is slow',
    weight: 5,
    happen: (cluster) => {
      const { health } = draw(cluster);
      health.slow = true;
      later(cluster, 1_500_000, () => {
        health.slow = false;
      });
    },
  },
  {
    name: 'a drive hangs',
    weight: 5,
    happen: (cluster) => {
      const engine = draw(cluster);
      engine.health.hung = true;
      later(cluster, 3_000_000, () => {
        engine.health.hung = false;
        engine.content?.resume();
      });
    },
  },
  {
    name: 'a drive fails',
    weight: 5,
    happen: (cluster) => {
      draw(cluster).health.failing = true;
    },
  },
  {
    name: 'a drive is full',
    weight: 5,
    happen: (cluster) => {
      const { health } = draw(cluster);
      health.full = true;
      later(cluster, 1_000_000, () => {
        health.full = false;
      });
    },
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
    name: 'the volume is grown',
    weight: 8,
    needsService: true,
    happen: (cluster) => cluster.grow(),
  },
  {
    name: 'the volume is detached and attached elsewhere',
    weight: 6,
    needsService: true,
    happen: (cluster) => {
      const head = cluster.serving?.head;
      cluster.wantedNode = draw(cluster).node;
      if (head?.state !== 'serving') return;
      cluster.client?.rest();
      head.detach();
    },
  },
];

/** One at random, now. */
export function inject(cluster: Cluster, mood: Mood): void {
  const { prng } = cluster.world;
  const weightOf = (fault: Fault): number => fault.moods?.[mood] ?? fault.weight;
  const sum = FAULTS.reduce((total, fault) => total + weightOf(fault), 0);
  let at = prng.below(sum);
  for (const fault of FAULTS) {
    at -= weightOf(fault);
    if (at >= 0) continue;
    if (fault.needsService === true && cluster.serving?.head?.state !== 'serving') return;
    cluster.count(`fault: ${fault.name}`);
    cluster.count(`while ${cluster.situation}: ${fault.name}`);
    cluster.world.trace(`fault: ${fault.name}`);
    fault.happen(cluster);
    return;
  }
}

/** Everything is well again. */
export function mend(cluster: Cluster): void {
  cluster.network.heal();
  cluster.store.isAway = false;
  cluster.store.unknownPercent = 0;
  for (const engine of cluster.engines) {
    engine.health.slow = false;
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

/** Nodes with a replica more often than others. */
function draw(cluster: Cluster): SimEngine {
  const { prng } = cluster.world;
  if (prng.chance(25)) return prng.pick(cluster.engines);
  return cluster.engines[prng.below(cluster.options.replicaCount)]!;
}

/** More often than not within some milliseconds. */
function soon(cluster: Cluster, limitUs: number, run: () => void): void {
  later(cluster, cluster.world.prng.chance(60) ? 15_000 : limitUs, run);
}

function later(cluster: Cluster, limitUs: number, run: () => void): void {
  cluster.world.schedule(cluster.world.prng.below(limitUs) + 100, run);
}
