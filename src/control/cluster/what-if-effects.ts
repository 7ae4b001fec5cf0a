/** What would become of the volumes if a node, a rack or a zone were lost or drained, from the records: docs/placement.md, "What if". */

import { Refusal } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import { type Level, domainOf } from '../../placement/model.ts';
import type { Hold } from '../../placement/repairs.ts';
import { whatIf } from '../../placement/what-if.ts';
import type { EffectView } from '../node-schemas.ts';
import type { RecordsStore } from '../records-store.ts';
import { type NodesSeen, clusterOf } from './placing.ts';

export type Loss = {
  readonly kind: 'lose' | 'drain';
  readonly level: Level;
  readonly domain: string;
};

/**
 * The volumes that have something there, those that stop first. Throws NODE_NOT_FOUND, or INPUT_INVALID for a rack or zone in which no node
 * is.
 */
export async function effectsOf(
  records: RecordsStore,
  seen: NodesSeen,
  loss: Loss,
): Promise<EffectView[]> {
  const { level, domain } = loss;
  const cluster = await clusterOf(records, seen);
  const there = new Set(
    [...cluster.nodes.values()]
      .filter((node) => domainOf(node, level) === domain)
      .map(({ name }) => name),
  );
  if (there.size === 0) throw nobodyIn(loss);
  const volumes = await records.volumes();
  const attachedThere = new Set(
    volumes
      .filter(({ attachment }) => attachment?.node !== undefined && there.has(attachment.node))
      .map(({ name }) => name),
  );
  const effects = whatIf(cluster, loss).map((effect): EffectView => ({
    volume: effect.volume,
    outcome: effect.outcome,
    copiesNow: effect.copiesNow,
    copiesThen: effect.copiesThen,
    minimum: effect.minimum,
    replicas: effect.replicaCount,
    attachedThere: attachedThere.has(effect.volume),
    drives: [...effect.drives],
    newDrives: [...effect.newDrives],
    held: effect.held === undefined ? null : inWords(effect.held),
  }));
  const drives = new Set(
    [...cluster.spaces.values()]
      .filter(({ node }) => there.has(node.name))
      .map(({ drive }) => drive.id),
  );
  const alone = volumes.filter(
    ({ replication, drive }) => replication === undefined && drives.has(drive),
  );
  return [...alone.map((volume) => aloneThere(volume, attachedThere.has(volume.name))), ...effects];
}

/** Of a volume of the time before the cluster: it lies on one drive, and nothing moves it. */
function aloneThere({ name, drive }: VolumeRecord, isAttachedThere: boolean): EffectView {
  return {
    volume: name,
    outcome: 'stops',
    copiesNow: 1,
    copiesThen: 0,
    minimum: 1,
    replicas: 1,
    attachedThere: isAttachedThere,
    drives: [drive],
    newDrives: [],
    held: 'it has no replicas: it lies on one drive',
  };
}

function nobodyIn({ level, domain }: Loss): Refusal {
  if (level === 'node') return new Refusal('NODE_NOT_FOUND', { node: domain, hint: '' });
  return new Refusal('INPUT_INVALID', { problem: `no node is in ${level} "${domain}"` });
}

function inWords(hold: Hold): string {
  switch (hold.kind) {
    case 'grace':
      return 'it is not replaced yet: it may come back';
    case 'maintenance':
      return 'its node or drive is in maintenance';
    case 'nodes away':
      return `${hold.away} of ${hold.of} nodes are away at once: more likely the network or the power than so many deaths`;
    case 'no copy':
      return 'no copy is there to fill another from';
    case 'unreachable':
      return 'its node is silent, and may only be slow';
    case 'budget':
      return 'others are more at risk';
    case 'no place':
      return 'no other drive can take it';
  }
}
