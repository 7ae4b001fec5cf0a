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
    name: 'the machine of the head vanishes, and another one is in trouble',
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
      if (world.prng.chance(60)) isolate(cluster, away);
      else stutter(cluster, away);
      world.schedule(world.prng.below(20_000), () => {
        cluster.losePower(serving);
        cluster.wantedNode = world.prng.pick(others.filter((each) => each !== away)).node;
        later(cluster, 3_000_000, () => serving.startProcess());
      });
      // Back shortly after the takeover it brings with it what was on its way, before much was written over that.
      const afterwardsUs = 900_000 + world.prng.below(250_000);
      world.schedule(world.prng.chance(60) ? afterwardsUs : 4_000_000, () =>
        cluster.network.heal(),
      );
    },
  },
  {
    name: 'the head hears nothing, and the volume is moved',
    weight: 6,
    moods: { takeover: 40 },
    needsService: true,
    happen: (cluster) => {
      const { serving, world, network } = cluster;
      if (serving === undefined) return;
      const isDeafOnly = world.prng.chance(70);
      for (const { node } of cluster.engines) {
        network.cut(node, serving.node);
        if (!isDeafOnly) network.cut(serving.node, node);
      }
      world.schedule(world.prng.below(300_000), () => {
        moveFrom(cluster, serving);
        // Long enough for the grants to end, and not for the head to give up on what it asked.
        world.schedule(1_000_000 + world.prng.below(450_000), () => network.heal());
      });
    },
  },
  {
    name: 'the volume is moved to a node that reaches the others late',
    weight: 4,
    moods: { takeover: 25 },
    needsService: true,
    happen: (cluster) => {
      const { serving, world, network } = cluster;
      if (serving === undefined) return;
      const next = moveFrom(cluster, serving);
      isolate(cluster, next);
      // By then it waits for nobody any more.
      world.schedule(1_050_000 + world.prng.below(400_000), () => {
        network.heal();
        const isKnown = world.prng.chance(50);
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
    needsService: true,
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
    name: 'a drive stutters',
    weight: 8,
    happen: (cluster) => {
      stutter(cluster, draw(cluster));
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
      const { serving } = cluster;
      cluster.wantedNode = draw(cluster).node;
      if (serving?.head?.state !== 'serving') return;
      cluster.client?.rest();
      serving.ask((head) => head.detach());
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

/** A head that makes members equal is lost, and another one does it anew: some members have what others will not get. */
export function loseOpening(cluster: Cluster, engine: SimEngine): void {
  if (!engine.isRunning || engine.head?.state !== 'opening') return;
  cluster.count('head lost while it makes members equal');
  cluster.losePower(engine);
  moveFrom(cluster, engine);
  later(cluster, 3_000_000, () => engine.startProcess());
}

/** Everything is well again. */
export function mend(cluster: Cluster): void {
  cluster.network.heal();
  cluster.store.isAway = false;
  cluster.store.unknownPercent = 0;
  for (const engine of cluster.engines) {
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

/** Nodes with a replica more often than others. */
function draw(cluster: Cluster): SimEngine {
  const { prng } = cluster.world;
  if (prng.chance(25)) return prng.pick(cluster.engines);
  return cluster.engines[prng.below(cluster.options.replicaCount)]!;
}

function isolate(cluster: Cluster, { node }: SimEngine): void {
  for (const other of cluster.engines) {
    cluster.network.cut(node, other.node);
    cluster.network.cut(other.node, node);
  }
}

function stutter(cluster: Cluster, { health }: SimEngine): void {
  health.stuttering = true;
  later(cluster, 2_500_000, () => {
    health.stuttering = false;
  });
}

/** Elsewhere, and rather where no replica is. */
function moveFrom(cluster: Cluster, engine: SimEngine): SimEngine {
  const { engines, options, world } = cluster;
  const others = engines.filter((each) => each !== engine);
  const bare = others.filter(({ node }) => node >= options.replicaCount);
  const next = world.prng.pick(bare.length > 0 && world.prng.chance(70) ? bare : others);
  cluster.wantedNode = next.node;
  return next;
}

/** More often than not within some milliseconds. */
function soon(cluster: Cluster, limitUs: number, run: () => void): void {
  later(cluster, cluster.world.prng.chance(60) ? 15_000 : limitUs, run);
}

function later(cluster: Cluster, limitUs: number, run: () => void): void {
  cluster.world.schedule(cluster.world.prng.below(limitUs) + 100, run);
}
