/** Which replica of a volume goes, when it has more than are wanted. */

import type { Cluster, Space } from './cluster.ts';
import { LEVELS, type Replica, type Volume } from './model.ts';
import { pressureOf } from './place.ts';

const STATES = ['synced', 'stale', 'new'] as const;

/**
 * The replica that the volume can do without best, of those that stay; undefined: none stays. One that is missing before one that is there, one
 * that is not synced before one that is; then the one that has most others of the volume near it, then of its group, then one that is not
 * beside the consumer, then the one on the drive that is fullest and busiest. It is to be marked as `moved`: it goes once enough others are synced.
 */
export function replicaToRemove(cluster: Cluster, volume: Volume): Replica | undefined {
  const staying = volume.replicas.filter((replica) => !cluster.leaves(replica));
  const spaces = new Map(staying.map((replica) => [replica, cluster.spaces.get(replica.drive)]));
  const others = [...spaces.values()].filter((space) => space !== undefined);
  const rank = (replica: Replica): number[] => {
    const space = spaces.get(replica);
    if (space === undefined) return [];
    return [
      cluster.isPresent(replica) ? 0 : 1,
      STATES.indexOf(replica.state),
      ...siblings(space, others, volume),
      groupMates(cluster, space, volume),
      space.node.name === volume.localTo ? 0 : 1,
      pressureOf(space),
    ];
  };
  return staying.toSorted((a, b) => compare(rank(b), rank(a)) || (a.drive < b.drive ? -1 : 1))[0];
}

/** How many replicas of the volume are in the domain of its level, and in finer ones. */
function siblings(space: Space, others: readonly Space[], { spread }: Volume): number[] {
  return LEVELS.slice(LEVELS.indexOf(spread.level)).map(
    (level) => others.filter(({ domains }) => domains[level] === space.domains[level]).length,
  );
}

function groupMates(cluster: Cluster, { domains }: Space, { group, spread }: Volume): number {
  return group === undefined ? 0 : cluster.groupCount(group, spread.level, domains[spread.level]);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
