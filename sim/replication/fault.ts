/** What a fault is, and what many of them do. */

import type { Cluster } from './cluster.ts';
import type { SimEngine } from './sim-engine.ts';

/** What a history is about: everything; replicas that come and go; heads that do. */
export type Mood = 'any' | 'churn' | 'takeover';

export type Fault = {
  readonly name: string;
  readonly weight: number;
  /** In place of the weight. */
  readonly moods?: Partial<Record<Mood, number>>;
  /** It makes sense only while a head serves; while a node has no replica. */
  readonly needs?: 'service' | 'spare';
  readonly happen: (cluster: Cluster) => void;
};

/** Nodes with a replica more often than others. */
export function draw(cluster: Cluster): SimEngine {
  const { engines, prng, replicas } = cluster;
  return prng.pick(prng.chance(25) ? engines : replicas);
}

export function isolate(cluster: Cluster, { node }: SimEngine): void {
  for (const other of cluster.engines) {
    cluster.network.cut(node, other.node);
    cluster.network.cut(other.node, node);
  }
}

export function stutter(cluster: Cluster, { health }: SimEngine): void {
  health.stuttering = true;
  later(cluster, 2_500_000, () => {
    health.stuttering = false;
  });
}

/** Elsewhere, and rather where no replica is. */
export function moveFrom(cluster: Cluster, engine: SimEngine): SimEngine {
  const { engines, prng, spares } = cluster;
  const others = engines.filter((each) => each !== engine);
  const bare = spares.filter((each) => each !== engine);
  const next = prng.pick(bare.length > 0 && prng.chance(70) ? bare : others);
  cluster.wantedNode = next.node;
  return next;
}

/** More often than not within some milliseconds. */
export function soon(cluster: Cluster, limitUs: number, run: () => void): void {
  later(cluster, cluster.prng.chance(60) ? 15_000 : limitUs, run);
}

/** Clients ask for nothing for so long. */
export function rest({ requests, world }: Cluster, forUs: number): void {
  requests.restUntilUs = Math.max(requests.restUntilUs, world.nowUs + forUs);
}

export function later(cluster: Cluster, limitUs: number, run: () => void): void {
  cluster.world.schedule(cluster.prng.below(limitUs) + 100, run);
}
