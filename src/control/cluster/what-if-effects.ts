/** What would become of the volumes if a node, a rack or a zone were lost or drained, from the records: docs/placement.md, "What if". */

import { Refusal } from '../../model/errors.ts';
import { type Level, domainOf } from '../../placement/model.ts';
import type { Hold } from '../../placement/repairs.ts';
import { whatIf } from '../../placement/what-if.ts';
import type { EffectView } from '../node-schemas.ts';
import type { RecordsStore } from '../records-store.ts';
import { type NodesSeen, clusterOf } from './placing.ts';
import { type StoredVolume, placedName, storedVolumes } from './stored-volumes.ts';

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
  const stored = new Map((await storedVolumes(records)).map((each) => [placedName(each), each]));
  const isAttachedThere = ({ volume }: StoredVolume): boolean =>
    there.has(volume.attachment?.node ?? '');
  const effects = whatIf(cluster, loss).flatMap((effect): EffectView[] => {
    const of = stored.get(effect.volume);
    if (of === undefined) return [];
    return [
      {
        volume: shownName(of),
        outcome: effect.outcome,
        copiesNow: effect.copiesNow,
        copiesThen: effect.copiesThen,
        minimum: effect.minimum,
        replicas: effect.replicaCount,
        attachedThere: isAttachedThere(of),
        drives: [...effect.drives],
        newDrives: [...effect.newDrives],
        held: effect.held === undefined ? null : inWords(effect.held),
      },
    ];
  });
  const drives = new Set(
    [...cluster.spaces.values()]
      .filter(({ node }) => there.has(node.name))
      .map(({ drive }) => drive.id),
  );
  const alone = [...stored.values()].filter(
    ({ volume: { replication, drive } }) => replication === undefined && drives.has(drive),
  );
  return [...alone.map((each) => aloneThere(each, isAttachedThere(each))), ...effects];
}

/** Of a volume of the time before the cluster: it lies on one drive, and nothing moves it. */
function aloneThere(stored: StoredVolume, attachedThere: boolean): EffectView {
  return {
    volume: shownName(stored),
    outcome: 'stops',
    copiesNow: 1,
    copiesThen: 0,
    minimum: 1,
    replicas: 1,
    attachedThere,
    drives: [stored.volume.drive],
    newDrives: [],
    held: 'it has no replicas: it lies on one drive, and a drain leaves it there',
  };
}

/** In the trash several may have one name, or that of one that is not there. */
const shownName = ({ key, volume }: StoredVolume): string =>
  key.startsWith('trash/') ? `${volume.name} (trash)` : volume.name;

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
