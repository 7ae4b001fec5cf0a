/** What would become of the volumes if a node, a rack or a zone were lost or drained: told before anybody does it. */

import type { Cluster } from './cluster.ts';
import { domainOf, type Level, type Node, type Volume } from './model.ts';
import { decideRepairs, type Hold } from './repairs.ts';

/** `lose`: all of its nodes vanish and do not come back. `drain`: their replicas are to leave. */
export type Event = {
  readonly kind: 'lose' | 'drain';
  readonly level: Level;
  /** As `domainOf` names it. */
  readonly domain: string;
};

/** Of a volume with a replica there. */
export type Effect = {
  readonly volume: string;
  /**
   * `stops`: its I/O stalls, until enough of what is lost is back. `loses redundancy`: it goes on, with fewer copies than wanted. `moves`: it is
   * drained without a gap. Of a drain, the first two are what happens if the nodes are switched off although the replica had to stay.
   */
  readonly outcome: 'stops' | 'loses redundancy' | 'moves';
  /** Copies from which it can be served: now, and without those there. It stops below the minimum. */
  readonly copiesNow: number;
  readonly copiesThen: number;
  readonly minimum: number;
  readonly replicaCount: number;
  /** Its consumer is there, too. */
  readonly losesConsumer: boolean;
  /** The drives there that have replicas of it, and those that would get them. */
  readonly drives: readonly string[];
  readonly newDrives: readonly string[];
  /** Why not all that are lost do. */
  readonly held: Hold | undefined;
};

/** Every grace time is over. */
const NOW_MS = Number.MAX_SAFE_INTEGER;

/** The effects on volumes, those that stop first, then by the copies that are left. Volumes without a replica there are none the worse. */
export function whatIf(cluster: Cluster, { kind, level, domain }: Event): Effect[] {
  const isThere = (node: Node): boolean => domainOf(node, level) === domain;
  const after = cluster.with({
    nodes: Array.from(cluster.nodes.values(), (node): Node => {
      if (!isThere(node)) return node;
      return kind === 'drain'
        ? { ...node, service: 'draining' }
        : { ...node, service: 'open', liveness: { kind: 'down', sinceMs: NOW_MS } };
    }),
  });
  const repairs = decideRepairs(after, { nowMs: NOW_MS, graceMs: 0, rebuildsMax: Infinity });
  const changes = Map.groupBy(repairs.changes, ({ volume }) => volume);
  const holds = Map.groupBy(repairs.held, ({ volume }) => volume);
  const isOn = (drive: string): boolean => {
    const node = cluster.spaces.get(drive)?.node;
    return node !== undefined && isThere(node);
  };
  const effectOn = (volume: Volume): Effect => {
    const copies = cluster.copiesOf(volume);
    const copiesThen = copies.filter(({ drive }) => !isOn(drive)).length;
    const newDrives = (changes.get(volume.name) ?? []).flatMap((change) =>
      change.kind === 'add' ? [change.drive] : change.kind === 'replace' ? [change.by] : [],
    );
    // Other replicas of the volume may be held for reasons of their own.
    const hold = holds
      .get(volume.name)
      ?.find(({ drive }) => drive === undefined || isOn(drive) || newDrives.includes(drive))?.hold;
    const stops = copiesThen < Math.max(1, volume.minimum);
    const outcome = stops ? 'stops' : 'loses redundancy';
    const consumer = volume.localTo === undefined ? undefined : cluster.nodes.get(volume.localTo);
    return {
      volume: volume.name,
      outcome: kind === 'drain' && hold === undefined ? 'moves' : outcome,
      copiesNow: copies.length,
      copiesThen,
      minimum: volume.minimum,
      replicaCount: volume.replicaCount,
      losesConsumer: consumer !== undefined && isThere(consumer),
      drives: volume.replicas.map(({ drive }) => drive).filter(isOn),
      newDrives,
      held: hold,
    };
  };
  return [...cluster.volumes]
    .filter(({ replicas }) =>
      replicas.some((replica) => isOn(replica.drive) && !cluster.leaves(replica)),
    )
    .map(effectOn)
    .toSorted(
      (a, b) =>
        OUTCOMES.indexOf(a.outcome) - OUTCOMES.indexOf(b.outcome) ||
        a.copiesThen - b.copiesThen ||
        (a.volume < b.volume ? -1 : 1),
    );
}

const OUTCOMES: readonly Effect['outcome'][] = ['stops', 'loses redundancy', 'moves'];
