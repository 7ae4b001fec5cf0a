/** What goes wrong with a drive. */

import { type Fault, draw, stutter, later } from './fault.ts';
import { rot } from './rot.ts';

export const DRIVE_FAULTS: readonly Fault[] = [
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
    name: 'a connection breaks as a full drive gets room',
    weight: 4,
    moods: { churn: 30 },
    needs: 'service',
    happen: (cluster) => {
      const { serving, store, world } = cluster;
      const engine = cluster.engineOf(cluster.prng.pick([...store.record.members.keys()]));
      engine.health.full = true;
      world.schedule(cluster.prng.below(3000), () => {
        engine.health.full = false;
        serving?.breakConnection(engine.node);
      });
    },
  },
  {
    name: 'a block rots',
    weight: 12,
    happen: rot,
  },
];
