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
export type Rank = { readonly [criterion in Criterion]: number };

export type Verdict =
  /** `order`: from 0, which of the replicas. */
  | { readonly kind: 'chosen'; readonly order: number; readonly rank: Rank }
  /** `behindBy`: what decided for another when the last replica was placed for which it was asked. */
  | { readonly kind: 'ranked'; readonly rank: Rank; readonly behindBy: Criterion }
  | { readonly kind: 'refused'; readonly hindrance: Hindrance }
  /** A replica that stays, or was just placed, is in its domain. */
  | { readonly kind: 'apart'; readonly level: Level; readonly domain: string };

export type Candidate = {
  readonly drive: string;
  readonly node: string;
  readonly verdict: Verdict;
};

export type Placement =
  | {
      readonly kind: 'placed';
      /** Ids; none where the volume has what it wants. */
      readonly drives: readonly string[];
      /** Every drive of the cluster, in the order of ids. */
      readonly candidates: readonly Candidate[];
    }
  | {
      readonly kind: 'refused';
      readonly noPlace: NoPlace;
      readonly candidates: readonly Candidate[];
    };

/** What each full copy that a drive waits for adds to its load: a node that is new, and empty, does not get all rebuilds at once. */
const INCOMING_LOAD = 0.1;
/** Of counts in a domain: replicas of one volume (at most 5), and of a group. Three levels of the second fit into 2^53. */
const SIBLINGS_BASE = 8;
const GROUP_BASE = 2 ** 17;

/**
 * Finds drives for as many replicas as the volume lacks: those that leave do not count, those that are missing do until they are marked as
 * replaced. What is there stays where it is. All or nothing: refused only where no choice of drives meets the constraints.
 */
export function place(cluster: Cluster, volume: Volume): Placement {
  const search = new Search(cluster, volume);
  const lacking = volume.replicaCount - search.occupied.length;
  for (let order = 0; order < lacking; order++) {
    if (search.chooseNext(order)) continue;
    const noPlace = explainNoPlace(cluster, volume, lacking);
    return { kind: 'refused', noPlace, candidates: search.candidates() };
  }
  return { kind: 'placed', drives: search.chosen, candidates: search.candidates() };
}

class Search {
  readonly chosen: string[] = [];
  /** Places of replicas that stay, and of those chosen. */
  readonly occupied: Space[];
  readonly #cluster: Cluster;
  readonly #volume: Volume;
  /** Places of replicas that the cluster's own record of the volume counts for its group. */
  readonly #recorded: readonly Space[];
  readonly #verdicts = new Map<Space, Verdict>();
  /** Drives that may take a replica, with their ties. */
  readonly #open = new Map<Space, number>();
  readonly #homes: ReadonlySet<string>;

  constructor(cluster: Cluster, volume: Volume) {
    this.#cluster = cluster;
    this.#volume = volume;
    this.occupied = stayingSpaces(cluster, volume);
    const recorded = cluster.volume(volume.name);
    const isCounted = recorded !== undefined && recorded.group === volume.group;
    this.#recorded = isCounted ? stayingSpaces(cluster, recorded) : [];
    for (const space of cluster.spaces.values()) {
      const hindrance = hindranceOf(space, volume, { cluster });
      if (hindrance === undefined) this.#open.set(space, hash(`${volume.name} ${space.drive.id}`));
      else this.#verdicts.set(space, { kind: 'refused', hindrance });
    }
    this.#closeDomains();
    this.#homes = this.#regionsForAll();
  }

  /** Whether there was a drive for the next replica. */
  chooseNext(order: number): boolean {
    const ranks = new Map<Space, Rank>();
    let best: { readonly space: Space; readonly rank: Rank } | undefined;
    for (const [space, tie] of this.#open) {
      const rank = this.#rank(space, tie);
      ranks.set(space, rank);
      if (best === undefined || firstDifference(rank, best.rank) < 0) best = { space, rank };
    }
    if (best === undefined) return false;
    for (const [space, rank] of ranks) {
      const behindBy = CRITERIA[Math.abs(firstDifference(rank, best.rank)) - 1] ?? 'tie';
      this.#verdicts.set(space, { kind: 'ranked', rank, behindBy });
    }
    this.#verdicts.set(best.space, { kind: 'chosen', order, rank: best.rank });
    this.chosen.push(best.space.drive.id);
    this.occupied.push(best.space);
    this.#open.delete(best.space);
    this.#closeDomains();
    return true;
  }

  candidates(): Candidate[] {
    return Array.from(this.#cluster.spaces.values(), (space) => {
      const verdict = this.#verdicts.get(space);
      const { id: drive, node } = space.drive;
      // Asked for no replica: none was lacking, or the search ended before.
      return { drive, node, verdict: verdict ?? this.#unasked(space) };
    });
  }

  #unasked(space: Space): Verdict {
    return { kind: 'ranked', rank: this.#rank(space, this.#open.get(space) ?? 0), behindBy: 'tie' };
  }

  #closeDomains(): void {
    const { level, isHard } = this.#volume.spread;
    if (!isHard) return;
    const taken = new Set(this.occupied.map(({ domains }) => domains[level]));
    for (const space of this.#open.keys()) {
      const domain = space.domains[level];
      if (!taken.has(domain)) continue;
      this.#open.delete(space);
      this.#verdicts.set(space, { kind: 'apart', level, domain });
    }
  }

  /** Regions that have places for all that are lacking. */
  #regionsForAll(): ReadonlySet<string> {
    const { replicaCount, spread } = this.#volume;
    const places = new Map<string, Set<string>>();
    for (const { node, domains, drive } of this.#open.keys()) {
      const name = spread.isHard ? domains[spread.level] : drive.id;
      places.set(node.region, (places.get(node.region) ?? new Set()).add(name));
    }
    const lacking = replicaCount - this.occupied.length;
    return new Set([...places].filter(([, { size }]) => size >= lacking).map(([region]) => region));
  }

  #rank(space: Space, tie: number): Rank {
    const { occupied } = this;
    const isHome =
      occupied.length === 0
        ? this.#homes.has(space.node.region)
        : occupied.some(({ node }) => node.region === space.node.region);
    const isLocal = this.#volume.localTo === space.node.name;
    return {
      region: isHome ? 0 : 1,
      spread: this.#siblings(space),
      group: this.#groupMates(space),
      local: isLocal && occupied.every(({ node }) => node !== space.node) ? 0 : 1,
      pressure: pressureOf(space, this.#volume),
      tie,
    };
  }

  /** How many replicas of the volume are near: in the domain of its level first, then in finer ones. */
  #siblings({ domains }: Space): number {
    let count = 0;
    for (const level of LEVELS.slice(LEVELS.indexOf(this.#volume.spread.level))) {
      count = count * SIBLINGS_BASE + countIn(this.occupied, level, domains[level]);
    }
    return count;
  }

  /** How many replicas of the group are near: in the domain of the volume's level first, then in the others from coarse to fine. */
  #groupMates({ domains }: Space): number {
    const { group, spread } = this.#volume;
    if (group === undefined) return 0;
    let count = 0;
    for (const level of [spread.level, ...LEVELS.filter((other) => other !== spread.level)]) {
      const domain = domains[level];
      const others =
        this.#cluster.groupCount(group, level, domain) - countIn(this.#recorded, level, domain);
      count = count * GROUP_BASE + others + countIn(this.occupied, level, domain);
    }
    return count;
  }
}

/**
 * How full and how busy a drive would be: the share of it that is expected to be written (of what is promised and not written, half),
 * and the share of time in which it is busy.
 */
export function pressureOf(
  { drive, promisedBytes, writtenBytes, incoming }: Space,
  added?: Volume,
): number {
  const promised = promisedBytes + (added?.sizeBytes ?? 0);
  const written = writtenBytes + (added?.writtenBytes ?? 0);
  return (promised + written) / 2 / drive.capacityBytes + drive.load + incoming * INCOMING_LOAD;
}

function stayingSpaces(cluster: Cluster, { replicas }: Volume): Space[] {
  return replicas
    .filter((replica) => !cluster.leaves(replica))
    .map(({ drive }) => cluster.spaces.get(drive))
    .filter((space) => space !== undefined);
}

function countIn(spaces: readonly Space[], level: Level, domain: string): number {
  let count = 0;
  for (const { domains } of spaces) if (domains[level] === domain) count++;
  return count;
}

/** The place, from 1, of the criterion that decides between two ranks; negative if it decides for the first; 0: they are equal. */
function firstDifference(a: Rank, b: Rank): number {
  for (const [index, criterion] of CRITERIA.entries()) {
    if (a[criterion] !== b[criterion]) return a[criterion] < b[criterion] ? -index - 1 : index + 1;
  }
  return 0;
}

/** FNV-1a (Fowler, Noll, Vo), with the last step of MurmurHash3: names that differ in their last letter alone are far apart. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
