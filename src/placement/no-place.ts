/** Why a volume's replicas have no place: which constraint leaves too little, and what alone would be enough. */

import type { Cluster, Space } from './cluster.ts';
import { type DriveConstraint, hindranceOf } from './constraints.ts';
import type { Level, Volume } from './model.ts';

export type NoPlace = {
  /** How many replicas were to be placed, and for how many of them there is a place. */
  readonly lacking: number;
  readonly found: number;
  /**
   * The first constraint, in the order in which they are applied, that leaves fewer places than are lacking. `spread`: the cluster has too few
   * domains (or, where the spread is soft, drives) even if nothing else mattered.
   */
  readonly constraint: DriveConstraint | 'spread';
  /** Places left after each constraint: domains of the level that hold none of its replicas; where the spread is soft, drives. */
  readonly left: readonly {
    readonly constraint: DriveConstraint | 'spread';
    readonly places: number;
  }[];
  /** Each is enough by itself. The last one always is. */
  readonly helps: readonly Help[];
};

export type Help =
  /** Drives that nothing but this constraint keeps out: bring back, uncordon, tag, free, or raise the limit. */
  | {
      readonly kind: 'lift';
      readonly constraint: DriveConstraint;
      readonly drives: readonly string[];
    }
  | { readonly kind: 'soften spread' }
  | { readonly kind: 'fewer replicas'; readonly replicaCount: number }
  | {
      readonly kind: 'add drives';
      readonly count: number;
      readonly sizeBytes: number;
      readonly tags: readonly string[];
      /** Each in a domain of its own, and in none of these. Undefined: wherever. */
      readonly apart: { readonly level: Level; readonly from: readonly string[] } | undefined;
    };

/** What an operator can change. Where a replica of the volume is, no other is helped by. */
const LIFTABLE = ['liveness', 'service', 'tags', 'promised', 'space'] as const;

/** `lacking`: how many replicas are to be placed, of which there is no place for one at least. */
export function explainNoPlace(cluster: Cluster, volume: Volume, lacking: number): NoPlace {
  const spaces = [...cluster.spaces.values()];
  const places = placesFor(cluster, volume);
  const hindrances = spaces.map((space) => hindranceOf(space, volume, cluster)?.constraint);
  const left: { constraint: DriveConstraint | 'spread'; places: number }[] = [
    { constraint: 'spread', places: places(spaces).size },
  ];
  const asked = new Set<DriveConstraint | undefined>();
  for (const constraint of ['holds', ...LIFTABLE] as const) {
    asked.add(constraint);
    const passing = spaces.filter((_, index) => !asked.has(hindrances[index]));
    left.push({ constraint, places: places(passing).size });
  }
  const open = spaces.filter((_, index) => hindrances[index] === undefined);
  return {
    lacking,
    found: places(open).size,
    constraint: left.find((after) => after.places < lacking)?.constraint ?? 'spread',
    left,
    helps: helpsFor(cluster, volume, { lacking, open }),
  };
}

function helpsFor(
  cluster: Cluster,
  volume: Volume,
  { lacking, open }: { readonly lacking: number; readonly open: readonly Space[] },
): Help[] {
  const { level, isHard } = volume.spread;
  const places = placesFor(cluster, volume);
  const found = places(open).size;
  const helps: Help[] = [];
  for (const lifted of LIFTABLE) {
    const passing = [...cluster.spaces.values()].filter(
      (space) => hindranceOf(space, volume, cluster, lifted) === undefined,
    );
    if (places(passing).size < lacking) continue;
    const drives = passing.filter((space) => !open.includes(space)).map(({ drive }) => drive.id);
    helps.push({ kind: 'lift', constraint: lifted, drives });
  }
  if (isHard && open.length >= lacking) helps.push({ kind: 'soften spread' });
  const replicaCount = volume.replicaCount - lacking + found;
  if (replicaCount > 0) helps.push({ kind: 'fewer replicas', replicaCount });
  const { sizeBytes, requiredTags: tags } = volume;
  const from = [...takenDomains(cluster, volume), ...places(open)].toSorted();
  const apart = isHard ? { level, from } : undefined;
  helps.push({ kind: 'add drives', count: lacking - found, sizeBytes, tags, apart });
  return helps;
}

/** What counts as a place among drives: a domain that holds none of the volume's replicas or, where the spread is soft, a drive. */
function placesFor(
  cluster: Cluster,
  volume: Volume,
): (spaces: readonly Space[]) => ReadonlySet<string> {
  const { level, isHard } = volume.spread;
  if (!isHard) return (spaces) => new Set(spaces.map(({ drive }) => drive.id));
  const taken = takenDomains(cluster, volume);
  return (spaces) =>
    new Set(spaces.map(({ domains }) => domains[level]).filter((domain) => !taken.has(domain)));
}

function takenDomains(cluster: Cluster, volume: Volume): Set<string> {
  const domains = volume.replicas
    .filter((replica) => !cluster.leaves(replica))
    .map(({ drive }) => cluster.spaces.get(drive)?.domains[volume.spread.level]);
  return new Set(domains.filter((domain) => domain !== undefined));
}
