/** Finds replicas that would be better elsewhere. Only suggestions: a move copies a replica, and nothing is moved by itself. */

import type { Cluster, Space } from './cluster.ts';
import { type Level, LEVELS, type Volume, withMark } from './model.ts';
import { type Criterion, decidingCriterion, place, type Rank, rankOf } from './place.ts';

/** A move for the sake of space alone is worth its copy if the fuller drive stays fuller by this share of its size, at least. */
const FILL_GAP_MIN = 0.1;
/** Replicas looked at: 0.3 ms each, with 800 drives. */
const LOOKS_MAX = 2000;

export type Move = {
  readonly volume: string;
  readonly from: string;
  readonly to: string;
  /** What is better there. `fill`: the drive is emptier, everything else being equal. */
  readonly gain: Extract<Criterion, 'region' | 'spread' | 'group' | 'local'> | 'fill';
};

export type Imbalance = {
  /** Of the drives that may have replicas: what is expected to be written of each, as a share of its size. */
  readonly fullest: DriveFill | undefined;
  readonly emptiest: DriveFill | undefined;
  readonly meanFill: number;
};
export type DriveFill = { readonly drive: string; readonly fill: number };

/** How unevenly the drives that may have replicas are filled. Without any there is nothing to say of it. */
export function imbalanceOf(cluster: Cluster): Imbalance {
  const fills = byFill(cluster).map((space) => ({ drive: space.drive.id, fill: fillOf(space) }));
  const sum = fills.reduce((total, { fill }) => total + fill, 0);
  return {
    fullest: fills[0],
    emptiest: fills.at(-1),
    meanFill: fills.length === 0 ? 0 : sum / fills.length,
  };
}

/**
 * At most `movesMax` moves, each better than what is there when those before it are made: first those for the sake of spread, groups and
 * consumers, then those that empty the fullest drives. A move and its reverse are never both better, so that suggestions end when they
 * are followed. Volumes that are not whole are left alone.
 */
export function suggestMoves(cluster: Cluster, movesMax: number): Move[] {
  const plan = cluster.with({});
  const whole = [...plan.volumes].filter((volume) => isWhole(plan, volume));
  const moves: Move[] = [];
  let looks = 0;
  const isOver = (): boolean => moves.length >= movesMax || looks >= LOOKS_MAX;
  const look = (volume: Volume, from: string): void => {
    looks++;
    const move = betterPlace(plan, volume, from);
    if (move === undefined) return;
    const replicas = volume.replicas.map((replica) =>
      replica.drive === from ? { ...replica, drive: move.to } : replica,
    );
    plan.put({ ...volume, replicas });
    moves.push(move);
  };
  const isUneven = unevenGroups(plan);
  for (const { name, replicas } of whole) {
    for (const { drive } of replicas) {
      const volume = plan.volume(name);
      if (volume === undefined || isOver()) break;
      if (isCrooked(plan, volume) || isUneven(volume)) look(volume, drive);
    }
  }
  looks = 0;
  const residents = residentsOf(whole);
  for (const space of byFill(plan)) {
    const from = space.drive.id;
    for (const name of residents.get(from) ?? []) {
      if (isOver() || fillOf(space) - emptiestFill(plan) < FILL_GAP_MIN) break;
      const volume = plan.volume(name);
      if (volume?.replicas.some(({ drive }) => drive === from) === true) look(volume, from);
    }
  }
  return moves;
}

/** Where a replica would be better, if anywhere. */
function betterPlace(cluster: Cluster, volume: Volume, from: string): Move | undefined {
  const without = withMark(volume, from, 'moved');
  const placement = place(cluster, without);
  if (placement.kind === 'refused') return undefined;
  const [to = ''] = placement.drives;
  const [now, then] = [rankOf(cluster, without, from), rankOf(cluster, without, to)];
  if (now === undefined || then === undefined) return undefined;
  const gain = gainOf(now, then);
  if (gain === 'fill' && !isEmptier(cluster, volume, { from, to })) return undefined;
  return gain === undefined ? undefined : { volume: volume.name, from, to, gain };
}

function gainOf(now: Rank, then: Rank): Move['gain'] | undefined {
  const criterion = decidingCriterion(now, then);
  if (criterion === undefined || criterion === 'pressure' || criterion === 'tie') return 'fill';
  return then[criterion] < now[criterion] ? criterion : undefined;
}

function isEmptier(
  cluster: Cluster,
  volume: Volume,
  { from, to }: { readonly from: string; readonly to: string },
): boolean {
  const [source, target] = [cluster.spaces.get(from), cluster.spaces.get(to)];
  if (source === undefined || target === undefined) return false;
  const bytes = (volume.sizeBytes + volume.writtenBytes) / 2;
  const after = fillOf(source) - bytes / source.drive.capacityBytes;
  return after - fillOf(target) - bytes / target.drive.capacityBytes >= FILL_GAP_MIN;
}

/** What is expected to be written: of what is promised and not written, half. Load changes too fast to move replicas for it. */
function fillOf({ drive, promisedBytes, writtenBytes }: Space): number {
  return (promisedBytes + writtenBytes) / 2 / drive.capacityBytes;
}

function isOpen({ drive, node }: Space): boolean {
  return (
    node.liveness.kind === 'up' &&
    drive.downSinceMs === undefined &&
    node.service === 'open' &&
    drive.service === 'open'
  );
}

/** The fullest first. */
function byFill(cluster: Cluster): Space[] {
  return [...cluster.spaces.values()].filter(isOpen).toSorted((a, b) => fillOf(b) - fillOf(a));
}

function emptiestFill(cluster: Cluster): number {
  let least = Infinity;
  for (const space of cluster.spaces.values()) {
    if (isOpen(space)) least = Math.min(least, fillOf(space));
  }
  return least;
}

function isWhole(cluster: Cluster, { replicas, replicaCount }: Volume): boolean {
  return (
    replicas.length === replicaCount &&
    replicas.every(
      (replica) => replica.state === 'synced' && cluster.isUp(replica) && !cluster.leaves(replica),
    )
  );
}

/** Whether replicas of a volume are nearer to each other, or farther from its consumer, than wanted: cheap to ask of every volume. */
function isCrooked(cluster: Cluster, { replicas, spread, localTo }: Volume): boolean {
  const spaces = replicas
    .map(({ drive }) => cluster.spaces.get(drive))
    .filter((space) => space !== undefined);
  const differ = (of: (space: Space) => string): number => new Set(spaces.map(of)).size;
  const levels: readonly Level[] = LEVELS.slice(LEVELS.indexOf(spread.level));
  return (
    levels.some((level) => differ(({ domains }) => domains[level]) < spaces.length) ||
    differ(({ node }) => node.region) > 1 ||
    (localTo !== undefined && spaces.every(({ node }) => node.name !== localTo))
  );
}

/** Tells of a volume whether its group is uneven: some domain has two more replicas than another. Of the groups as they are now. */
function unevenGroups(cluster: Cluster): (volume: Volume) => boolean {
  const open = [...cluster.spaces.values()].filter(isOpen);
  const domains = LEVELS.map((level) => new Set(open.map((space) => space.domains[level])));
  const known = new Map<string, boolean>();
  return ({ group }) => {
    if (group === undefined) return false;
    let uneven = known.get(group);
    if (uneven === undefined) {
      uneven = LEVELS.some((level, index) => {
        const counts = Array.from(domains[index] ?? [], (domain) =>
          cluster.groupCount(group, level, domain),
        );
        return Math.max(...counts) - Math.min(...counts) > 1;
      });
      known.set(group, uneven);
    }
    return uneven;
  };
}

function residentsOf(volumes: readonly Volume[]): Map<string, string[]> {
  const residents = new Map<string, string[]>();
  // The largest first: fewer moves.
  for (const { name, replicas } of volumes.toSorted((a, b) => b.sizeBytes - a.sizeBytes)) {
    for (const { drive } of replicas) {
      const names = residents.get(drive);
      if (names === undefined) residents.set(drive, [name]);
      else names.push(name);
    }
  }
  return residents;
}
