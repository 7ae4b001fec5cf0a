/**
 * What a placement must be, written without the code that is checked: by its definition, and by trying every choice of drives. Each throws
 * `Violation`.
 */

import type { Cluster } from '../../src/placement/cluster.ts';
import {
  domainOf,
  type Drive,
  type Level,
  type Node,
  type Volume,
} from '../../src/placement/model.ts';
import type { Placement } from '../../src/placement/place.ts';
import { Violation } from '../world.ts';

type Place = { readonly drive: Drive; readonly node: Node };

/** A placement meets every hard constraint, and a refusal has no choice of drives that would. */
export function checkConstraints(cluster: Cluster, volume: Volume, placement: Placement): void {
  const stay = stayOf(cluster, volume);
  const lacking = Math.max(0, volume.replicaCount - stay.length);
  if (placement.kind === 'refused') {
    for (const choice of choices(placesOf(cluster), lacking)) {
      if (problemOf(cluster, volume, choice) !== undefined) continue;
      const drives = choice.map(({ drive }) => drive.id).join(', ');
      throw new Violation('placement', `${volume.name} was refused, and ${drives} would do`);
    }
    return;
  }
  const problem = problemOf(cluster, volume, named(cluster, placement.drives));
  if (placement.drives.length === lacking && problem === undefined) return;
  throw new Violation(
    'placement',
    `${volume.name} on ${placement.drives.join(', ')}: ${problem ?? `${lacking} are lacking`}`,
  );
}

/**
 * No other choice shares fewer domains (only a soft spread may share any) or, that being equal and within one region, brings a domain with more
 * replicas of the group to more, while one with fewer could have it.
 */
export function checkBalance(cluster: Cluster, volume: Volume, placement: Placement): void {
  if (placement.kind === 'refused' || placement.drives.length === 0) return;
  const { level } = volume.spread;
  const stay = stayOf(cluster, volume);
  const chosen = named(cluster, placement.drives);
  const all = [...stay, ...chosen];
  if (new Set(all.map(({ node }) => node.region)).size > 1) return;
  const domains = new Set(all.map(({ node }) => domainOf(node, level)));
  const others = placesOf(cluster).filter(
    (place) =>
      place.node.region === all[0]?.node.region &&
      !domains.has(domainOf(place.node, level)) &&
      problemOf(cluster, { ...volume, spread: { level, isHard: false } }, [place]) === undefined,
  );
  for (const other of others) {
    const domain = domainOf(other.node, level);
    for (const { node } of chosen) {
      const shared = all.filter((place) => domainOf(place.node, level) === domainOf(node, level));
      if (shared.length > 1) {
        throw new Violation('spread', `${volume.name} shares a domain, and ${domain} has none`);
      }
      if (volume.group === undefined) continue;
      const count = groupCount(cluster, volume, domain);
      const chosenCount = groupCount(cluster, volume, domainOf(node, level));
      if (chosenCount <= count) continue;
      throw new Violation(
        'group',
        `${volume.name}: ${domainOf(node, level)} had ${chosenCount} of its group, ${domain} ${count}`,
      );
    }
  }
}

/** The most and the fewest replicas of a group in domains of a level, among the domains that there are. */
export function groupRange(
  cluster: Cluster,
  group: string,
  level: Level,
): readonly [number, number] {
  const counts = new Map<string, number>();
  for (const node of cluster.nodes.values()) counts.set(domainOf(node, level), 0);
  for (const volume of cluster.volumes) {
    if (volume.group !== group) continue;
    for (const { node } of stayOf(cluster, volume)) {
      const domain = domainOf(node, level);
      counts.set(domain, (counts.get(domain) ?? 0) + 1);
    }
  }
  return [Math.min(...counts.values()), Math.max(...counts.values())];
}

/** Why a volume may not have these drives as well, or undefined. */
function problemOf(cluster: Cluster, volume: Volume, added: readonly Place[]): string | undefined {
  const stay = stayOf(cluster, volume);
  const { level, isHard } = volume.spread;
  for (const { drive, node } of added) {
    const isUp = node.liveness.kind === 'up' && drive.downSinceMs === undefined;
    const isOpen = node.service === 'open' && drive.service === 'open';
    const hasTags =
      volume.requiredTags.every((tag) => drive.tags.includes(tag)) &&
      !volume.forbiddenTags.some((tag) => drive.tags.includes(tag));
    const limit = (cluster.overprovisionPercent ?? Infinity) / 100;
    const hasRoom =
      drive.promisedBytes + volume.sizeBytes <= drive.capacityBytes * limit &&
      drive.writtenBytes + volume.writtenBytes <= drive.capacityBytes * 0.95;
    const isElsewhere = volume.replicas.every((replica) => replica.drive !== drive.id);
    if (!(isUp && isOpen && hasTags && hasRoom && isElsewhere)) return `${drive.id} may not`;
  }
  if (new Set(added.map(({ drive }) => drive.id)).size < added.length) return 'twice on a drive';
  if (!isHard) return undefined;
  // Replicas that stay may share a domain for earlier reasons: what is added shares with none.
  const domains = added.map(({ node }) => domainOf(node, level));
  const taken = new Set(stay.map(({ node }) => domainOf(node, level)));
  if (new Set(domains).size < domains.length || domains.some((domain) => taken.has(domain))) {
    return `two replicas in one ${level}`;
  }
  return undefined;
}

/** Replicas of the volume's group in a domain of its level, its own that stay among them. */
function groupCount(cluster: Cluster, volume: Volume, domain: string): number {
  const { level } = volume.spread;
  const mates = [...cluster.volumes].filter(
    ({ group, name }) => group === volume.group && name !== volume.name,
  );
  return [...mates, volume]
    .flatMap((mate) => stayOf(cluster, mate))
    .filter(({ node }) => domainOf(node, level) === domain).length;
}

function stayOf(cluster: Cluster, volume: Volume): Place[] {
  return named(
    cluster,
    volume.replicas.filter(({ leaving }) => leaving === undefined).map(({ drive }) => drive),
  ).filter(({ drive, node }) => drive.service !== 'draining' && node.service !== 'draining');
}

function placesOf(cluster: Cluster): Place[] {
  return cluster.drives().flatMap((drive) => {
    const node = cluster.nodes.get(drive.node);
    return node === undefined ? [] : [{ drive, node }];
  });
}

function named(cluster: Cluster, ids: readonly string[]): Place[] {
  return placesOf(cluster).filter(({ drive }) => ids.includes(drive.id));
}

function* choices(places: readonly Place[], count: number): Generator<readonly Place[]> {
  if (count === 0) {
    yield [];
    return;
  }
  for (const [index, place] of places.entries()) {
    for (const rest of choices(places.slice(index + 1), count - 1)) yield [place, ...rest];
  }
}
