/** One seed: a crooked cluster whose suggested moves are made, again and again. They must keep every constraint, gain what they say, and end. */

import { Prng } from '../../src/lib/prng.ts';
import { imbalanceOf, suggestMoves } from '../../src/placement/balance.ts';
import type { Volume } from '../../src/placement/model.ts';
import { place } from '../../src/placement/place.ts';
import { Violation } from '../world.ts';
import { checkConstraints } from './checks.ts';
import { drawCluster, drawVolume } from './random-cluster.ts';

const ROUNDS_MAX = 50;
const MOVES_MAX = 4;

/** Throws `Violation`. What happened is counted in `counts`. */
export function runBalance(seed: number, counts: Map<string, number>): void {
  const random = new Prng(seed);
  const trouble = random.pick([0, 0, 5]);
  const cluster = drawCluster(
    random,
    { nodeCount: 2 + random.below(5), drivesPerNode: 3, trouble },
    0,
  );
  for (let index = 0; index < 12; index++) {
    // Placed without its own wishes, so that there is something to gain.
    const drawn = drawVolume(random, `v${index}`, []);
    const spread = { level: 'node', isHard: false } as const;
    const placement = place(cluster, { ...drawn, spread, localTo: undefined, group: undefined });
    if (placement.kind === 'refused') continue;
    const replicas = placement.drives.map((drive) => ({
      drive,
      state: 'synced' as const,
      isRebuilding: false,
      leaving: undefined,
    }));
    cluster.put({ ...drawn, spread: { ...drawn.spread, isHard: random.chance(50) }, replicas });
  }
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const moves = suggestMoves(cluster, MOVES_MAX);
    if (moves.length === 0) {
      imbalanceOf(cluster);
      return;
    }
    for (const { volume: name, from, to, gain } of moves) {
      const volume = cluster.volume(name);
      if (volume === undefined) throw new Violation('moves', `there is no ${name}`);
      const mark = (leaving: 'moved' | undefined): Volume => ({
        ...volume,
        replicas: volume.replicas.map((each) =>
          each.drive === from ? { ...each, leaving } : each,
        ),
      });
      checkConstraints(cluster, mark('moved'), { kind: 'placed', drives: [to] });
      cluster.put({
        ...volume,
        replicas: volume.replicas.map((each) =>
          each.drive === from ? { ...each, drive: to } : each,
        ),
      });
      counts.set(`move: ${gain}`, (counts.get(`move: ${gain}`) ?? 0) + 1);
    }
  }
  throw new Violation('moves', `they did not end within ${ROUNDS_MAX} rounds`);
}
