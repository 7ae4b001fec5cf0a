/**
 * Chooses the drives of a volume's replicas, and says of every drive why it was chosen or not (docs/placement.md). The same cluster and volume
 * give the same answer: ties are broken by a hash of their names, so that volumes do not all prefer the first drive.
 */

import type { Cluster, Space } from './cluster.ts';
import { type Hindrance, hindranceOf } from './constraints.ts';
import { type Level, LEVELS, type Volume } from './model.ts';
import { explainNoPlace, type NoPlace } from './no-place.ts';

/** By what those that may take it are ranked, in this order: the next is asked only where all before are equal. Less is better. */
export const CRITERIA = ['region', 'spread', 'group', 'local', 'pressure', 'tie'] as const;
export type Criterion = (typeof CRITERIA)[number];
/** Of spread and group a number whose digits are counts: `countsOf` tells them. */
export type Rank = { readonly [criterion in Criterion]: number };

export type Placement = {
  /** `refused`: not all that are lacking have a place. */
  readonly kind: 'placed' | 'refused';
  /** Ids, in the order in which they were chosen; none where the volume has what it wants. Of a refusal: of those that have a place. */
  readonly drives: readonly string[];
};

export type Verdict =
  /** `order`: from 0, which of the replicas. */
  | { readonly kind: 'chosen'; readonly order: number; readonly rank: Rank }
  /** `behindBy`: what decided for another, the last time that it was asked. Undefined: no replica was lacking. */
  | { readonly kind: 'ranked'; readonly rank: Rank; readonly behindBy: Criterion | undefined }
  | { readonly kind: 'refused'; readonly hindrance: Hindrance }
  /** A replica that stays, or was just placed, is in its domain. */
  | { readonly kind: 'apart'; readonly level: Level; readonly domain: string };

export type Explanation = {
  readonly placement: Placement;
  /** Every drive of the cluster, in the order of ids. */
  readonly candidates: readonly {
    readonly drive: string;
    readonly node: string;
    readonly verdict: Verdict;
  }[];
  /** Of a refusal. */
  readonly noPlace: NoPlace | undefined;
};

/** What each full copy that a drive waits for adds to its load: a node that is new, and empty, does not get all rebuilds at once. */
const INCOMING_LOAD = 0.1;
/** Of counts in a domain: replicas of one volume (at most 5), and of a group. Three levels of the second fit into 2^53. */
const SIBLINGS_BASE = 8;
const GROUP_BASE = 2 ** 17;

/**
 * Finds drives for as many replicas as the volume lacks: those that leave do not count, those that are missing do until they are marked as
 * replaced. What is there stays where it is. Refused only where no choice of drives meets the constraints.
 */
export function place(cluster: Cluster, volume: Volume): Placement {
  return new Search(cluster, volume).run();
}

/** The same placement, with the reasons. */
export function explainPlacement(cluster: Cluster, volume: Volume): Explanation {
  const verdicts = new Map<Space, Verdict>();
  const search = new Search(cluster, volume, verdicts);
  const lacking = search.lacking;
  const placement = search.run();
  const candidates = Array.from(cluster.spaces.values(), (space) => {
    const { id: drive, node } = space.drive;
    const unasked = { kind: 'ranked', rank: search.rank(space), behindBy: undefined } as const;
    return { drive, node, verdict: verdicts.get(space) ?? unasked };
  });
  const isRefused = placement.kind === 'refused';
  const noPlace = isRefused ? explainNoPlace(cluster, volume, lacking) : undefined;
  return { placement, candidates, noPlace };
}

/** How a drive would be ranked for the next replica, whether or not it may take one; undefined: it is not of the cluster. */
export function rankOf(cluster: Cluster, volume: Volume, drive: string): Rank | undefined {
  const space = cluster.spaces.get(drive);
  return space === undefined ? undefined : new Search(cluster, volume).rank(space);
}

class Search {
  readonly #cluster: Cluster;
  readonly #volume: Volume;
  /** Kept where somebody wants the reasons. */
  readonly #verdicts: Map<Space, Verdict> | undefined;
  readonly #chosen: string[] = [];
  /** Places of replicas that stay, and of those chosen. */
  readonly #occupied: Space[];
  /** Places of replicas that the cluster's own record of the volume counts for its group. */
  readonly #recorded: readonly Space[];
  /** Levels at which replicas of the volume are to be apart, and those at which its group is to be even: what matters most first. */
  readonly #spreadLevels: readonly Level[];
  readonly #groupLevels: readonly Level[];
  /** Drives that may take a replica. */
  readonly #open = new Set<Space>();
  /** Regions that have places for all replicas. */
  readonly #homes: ReadonlySet<string>;

  constructor(cluster: Cluster, volume: Volume, verdicts?: Map<Space, Verdict>) {
    this.#cluster = cluster;
    this.#volume = volume;
    this.#verdicts = verdicts;
    this.#occupied = stayingSpaces(cluster, volume);
    const recorded = cluster.volume(volume.name);
    const isCounted = recorded !== undefined && recorded.group === volume.group;
    this.#recorded = isCounted ? stayingSpaces(cluster, recorded) : [];
    const { level } = volume.spread;
    this.#spreadLevels = spreadLevels(level);
    this.#groupLevels = groupLevels(level);
    for (const space of cluster.spaces.values()) {
      const hindrance = hindranceOf(space, volume, cluster);
      if (hindrance === undefined) this.#open.add(space);
      else verdicts?.set(space, { kind: 'refused', hindrance });
    }
    this.#closeDomains();
    this.#homes = this.#occupied.length > 0 ? new Set() : this.#findHomes();
  }

  /** Replicas that are to be placed yet. */
  get lacking(): number {
    return this.#volume.replicaCount - this.#occupied.length;
  }

  run(): Placement {
    while (this.lacking > 0) {
      if (!this.#chooseNext()) return { kind: 'refused', drives: this.#chosen };
    }
    return { kind: 'placed', drives: this.#chosen };
  }

  rank(space: Space): Rank {
    return {
      region: this.#rankBy('region', space),
      spread: this.#rankBy('spread', space),
      group: this.#rankBy('group', space),
      local: this.#rankBy('local', space),
      pressure: this.#rankBy('pressure', space),
      tie: this.#rankBy('tie', space),
    };
  }

  #rankBy(criterion: Criterion, space: Space): number {
    const occupied = this.#occupied;
    const { node } = space;
    switch (criterion) {
      case 'region': {
        const isNear = occupied.some((other) => other.node.region === node.region);
        if (occupied.length > 0) return isNear ? 0 : 1;
        return this.#volume.replicaCount === 1 || this.#homes.has(node.region) ? 0 : 1;
      }
      case 'spread':
        return countNear(occupied, space, this.#spreadLevels);
      case 'group':
        return this.#groupMates(space);
      case 'local': {
        const isLocal = this.#volume.localTo === node.name;
        return isLocal && occupied.every((other) => other.node !== node) ? 0 : 1;
      }
      case 'pressure':
        return pressureOf(space, this.#volume);
      case 'tie':
        return hash(this.#volume.name, space.drive.id);
    }
  }

  /** Whether there was a drive for the next replica. */
  #chooseNext(): boolean {
    const [first, ...others] = this.#open;
    if (first === undefined) return false;
    let best = first;
    let rank = this.rank(best);
    for (const space of others) {
      if (!this.#isBefore(space, rank)) continue;
      best = space;
      rank = this.rank(space);
    }
    this.#explain(best, rank);
    this.#chosen.push(best.drive.id);
    this.#occupied.push(best);
    this.#open.delete(best);
    this.#closeDomains();
    return true;
  }

  /** Whether a drive is better than one of that rank. Only as many criteria are looked at as it takes. */
  #isBefore(space: Space, rank: Rank): boolean {
    for (const criterion of CRITERIA) {
      const value = this.#rankBy(criterion, space);
      if (value !== rank[criterion]) return value < rank[criterion];
    }
    return false;
  }

  #explain(best: Space, rank: Rank): void {
    if (this.#verdicts === undefined) return;
    for (const space of this.#open) {
      const other = this.rank(space);
      const behindBy = decidingCriterion(other, rank);
      this.#verdicts.set(space, { kind: 'ranked', rank: other, behindBy });
    }
    this.#verdicts.set(best, { kind: 'chosen', order: this.#chosen.length, rank });
  }

  #closeDomains(): void {
    const { level, isHard } = this.#volume.spread;
    if (!isHard) return;
    const taken = new Set(this.#occupied.map(({ domains }) => domains[level]));
    for (const space of this.#open) {
      const domain = space.domains[level];
      if (!taken.has(domain)) continue;
      this.#open.delete(space);
      this.#verdicts?.set(space, { kind: 'apart', level, domain });
    }
  }

  #findHomes(): ReadonlySet<string> {
    const { replicaCount, spread } = this.#volume;
    const places = new Map<string, Set<string>>();
    for (const { node, domains, drive } of this.#open) {
      const name = spread.isHard ? domains[spread.level] : drive.id;
      const names = places.get(node.region);
      if (names === undefined) places.set(node.region, new Set([name]));
      else names.add(name);
    }
    return new Set(
      [...places].filter(([, { size }]) => size >= replicaCount).map(([region]) => region),
    );
  }

  /** How many replicas of the group are near, those of the volume that stay or were just placed among them. */
  #groupMates(space: Space): number {
    const { group } = this.#volume;
    if (group === undefined) return 0;
    let digits = 0;
    for (const level of this.#groupLevels) {
      const domain = space.domains[level];
      const others =
        this.#cluster.groupCount(group, level, domain) - countIn(this.#recorded, level, domain);
      digits = digits * GROUP_BASE + others + countIn(this.#occupied, level, domain);
    }
    return digits;
  }
}

/**
 * How full and how busy a drive would be: the share of it that is expected to be written (of what is promised and not written, half),
 * and the share of time in which it is busy.
 */
export function pressureOf(space: Space, added?: Volume): number {
  const promised = space.promisedBytes + (added?.sizeBytes ?? 0);
  const written = space.writtenBytes + (added?.writtenBytes ?? 0);
  const fill = (promised + written) / 2 / space.drive.capacityBytes;
  return fill + space.drive.load + space.incoming * INCOMING_LOAD;
}

function stayingSpaces(cluster: Cluster, { replicas }: Volume): Space[] {
  return replicas
    .filter((replica) => !cluster.leaves(replica))
    .map(({ drive }) => cluster.spaces.get(drive))
    .filter((space) => space !== undefined);
}

/** What the spread and the group of a rank count: replicas in the domain of each level, what matters most first. */
export function countsOf(
  { spread }: Volume,
  rank: Rank,
): { readonly [criterion in 'spread' | 'group']: readonly (readonly [Level, number])[] } {
  const digits = (value: number, base: number, levels: readonly Level[]) =>
    levels.map((level, index) => {
      const rest = Math.floor(value / base ** (levels.length - 1 - index));
      return [level, rest % base] as const;
    });
  return {
    spread: digits(rank.spread, SIBLINGS_BASE, spreadLevels(spread.level)),
    group: digits(rank.group, GROUP_BASE, groupLevels(spread.level)),
  };
}

/** Its own, then finer ones. */
function spreadLevels(level: Level): readonly Level[] {
  return LEVELS.slice(LEVELS.indexOf(level));
}

/** Its own, then the others from coarse to fine. */
function groupLevels(level: Level): readonly Level[] {
  return [level, ...LEVELS.filter((other) => other !== level)];
}

/** How many of `spaces` are in the domains of one, as digits of one number: the first level is the highest. */
function countNear(spaces: readonly Space[], near: Space, levels: readonly Level[]): number {
  let digits = 0;
  for (const level of levels) {
    digits = digits * SIBLINGS_BASE + countIn(spaces, level, near.domains[level]);
  }
  return digits;
}

function countIn(spaces: readonly Space[], level: Level, domain: string): number {
  let count = 0;
  for (const { domains } of spaces) if (domains[level] === domain) count++;
  return count;
}

/** The first criterion by which two ranks differ; undefined: by none. */
export function decidingCriterion(a: Rank, b: Rank): Criterion | undefined {
  return CRITERIA.find((criterion) => a[criterion] !== b[criterion]);
}

/** FNV-1a (Fowler, Noll, Vo), with the last step of MurmurHash3: names that differ in their last letter alone are far apart. */
function hash(...names: readonly string[]): number {
  let value = 0x811c9dc5;
  for (const name of names) {
    for (let at = 0; at < name.length; at++) {
      value = Math.imul(value ^ name.charCodeAt(at), 0x01000193);
    }
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
