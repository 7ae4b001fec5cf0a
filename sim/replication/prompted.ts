/** What goes wrong as something rare is under way, which would hardly ever be met by chance. */

import type { Cluster } from './cluster.ts';
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
