/** Blocks that a drive cannot read any more. */

import type { Cluster } from './cluster.ts';
import { later } from './fault.ts';
import { type SimEngine, replicaOf } from './sim-engine.ts';
import { EXTENT_BLOCKS } from './sim-media.ts';

/** One block of one member, some of several, or neighbours that no member can read all of. */
export function rot(cluster: Cluster): void {
  const { prng } = cluster;
  if (prng.chance(25)) rotNeighbours(cluster);
  else for (let count = prng.chance(40) ? 6 : 1; count > 0; count--) rotOne(cluster);
}

/** What `left` took and another member does not have: nobody can read it, until its drive can again. */
export function rotWhereTheyDiffer(cluster: Cluster, left: SimEngine): void {
  const { engines, prng, store } = cluster;
  const others = engines.filter(
    (each) => each !== left && store.record.members.has(replicaOf(each.node)),
  );
  const { taken, rotten } = left.media;
  const differing = [...taken.blocks.keys()].filter(
    (block) =>
      taken.blocks[block] !== 0 &&
      others.some(({ media }) => media.taken.blocks[block] !== taken.blocks[block]),
  );
  if (differing.length === 0) return;
  const block = prng.pick(differing);
  rotten.add(block);
  later(cluster, 2_000_000, () => rotten.delete(block));
}

/** Never the last copy of it; rather where members may differ, or where another one has a bad block too. */
function rotOne(cluster: Cluster): void {
  const { engines, prng, store } = cluster;
  const replicas = [...store.record.members.keys()];
  if (replicas.length < 2) return;
  const { media } = cluster.engineOf(prng.pick(replicas));
  const rotten = engines.flatMap((each) => [...each.media.rotten]);
  const extents = [
    ...media.taken.marks.keys(),
    ...rotten.map((block) => Math.floor(block / EXTENT_BLOCKS)),
  ];
  for (let tries = 0; tries < 8; tries++) {
    const block =
      extents.length > 0 && prng.chance(70)
        ? prng.pick(extents) * EXTENT_BLOCKS + prng.below(EXTENT_BLOCKS)
        : prng.below(media.sizeBlocks);
    if (rotten.includes(block) || !media.taken.blocks[block]) continue;
    media.rotten.add(block);
    return;
  }
}

/** Of blocks beside each other each member has another one that is bad. */
function rotNeighbours(cluster: Cluster): void {
  const { engines, prng, store, sizeBlocks } = cluster;
  const all = [...store.record.members.keys()].map((replica) => cluster.engineOf(replica).media);
  if (all.length < 2) return;
  const first = prng.below(sizeBlocks);
  const rotten = engines.flatMap((each) => [...each.media.rotten]);
  const isFit = all.every(
    ({ taken }, index) =>
      (taken.blocks[first + index] ?? 0) !== 0 && !rotten.includes(first + index),
  );
  if (!isFit) return;
  for (const [index, media] of all.entries()) media.rotten.add(first + index);
}
