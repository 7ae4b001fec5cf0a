/** Why the replicas of a volume would go where, if all were to be placed now: docs/placement.md, "An explanation". */

import { Refusal } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import { formatSize } from '../../model/sizes.ts';
import type { Hindrance } from '../../placement/constraints.ts';
import { type Criterion, type Verdict, explainPlacement } from '../../placement/place.ts';
import type { PlacementView } from '../node-schemas.ts';
import type { RecordsStore } from '../records-store.ts';
import { type NodesSeen, clusterOf, helpsOf, problemOf } from './placing.ts';

/** Every drive of the cluster with its verdict, in the order of names. Throws INPUT_INVALID for a volume without replicas. */
export async function placementOf(
  records: RecordsStore,
  seen: NodesSeen,
  { name, drive: onDrive, replication }: VolumeRecord,
): Promise<PlacementView> {
  const cluster = await clusterOf(records, seen);
  const volume = cluster.volume(name);
  if (volume === undefined || replication === undefined) {
    const problem = `volume "${name}" lies on drive "${onDrive}": it has no replicas to place`;
    throw new Refusal('INPUT_INVALID', { problem });
  }
  const has = new Set(volume.replicas.map(({ drive }) => drive));
  const paper = cluster.with({});
  paper.put({ ...volume, replicas: [] });
  const { candidates, noPlace } = explainPlacement(paper, { ...volume, replicas: [] });
  return {
    volume: name,
    drives: candidates.map(({ drive, node, verdict }) => ({
      drive,
      node,
      hasReplica: has.has(drive),
      verdict: verdict.kind === 'ranked' ? 'possible' : verdict.kind,
      because: becauseOf(verdict),
    })),
    problem: noPlace === undefined ? null : problemOf(noPlace),
    helps: noPlace === undefined ? [] : helpsOf(noPlace, replication),
  };
}

const BEHIND: Readonly<Record<Criterion, string>> = {
  region: 'others are in a region with room for all',
  spread: 'others have fewer of its replicas near',
  group: 'others have fewer of its group near',
  local: 'another is beside its consumer',
  pressure: 'others are emptier or idler',
  tie: 'all else is equal, and one has to be first',
};

function becauseOf(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'chosen':
      return `it is the best for replica ${verdict.order + 1}: pressure ${verdict.rank.pressure.toFixed(2)}`;
    case 'ranked':
      return verdict.behindBy === undefined ? 'no replica is lacking' : BEHIND[verdict.behindBy];
    case 'apart':
      return `a replica is in ${verdict.level} "${verdict.domain}"`;
    case 'refused':
      return hindranceInWords(verdict.hindrance);
  }
}

function hindranceInWords(hindrance: Hindrance): string {
  switch (hindrance.constraint) {
    case 'holds':
      return hindrance.why;
    case 'liveness':
      return `the ${hindrance.of} is ${hindrance.state}`;
    case 'service':
      return `the ${hindrance.of} is ${SERVICES[hindrance.state]}`;
    case 'tags':
      return `tag "${hindrance.tag}" is ${hindrance.why}`;
    case 'promised':
      return `its volumes would come to ${formatSize(hindrance.wouldBeBytes)}, and the limit is ${formatSize(hindrance.limitBytes)} (overprovision)`;
    case 'space':
      return `it would have ${formatSize(hindrance.wouldBeBytes)} written, and the limit is ${formatSize(hindrance.limitBytes)}`;
  }
}

const SERVICES = {
  cordoned: 'cordoned',
  draining: 'being drained',
  maintenance: 'in maintenance',
} as const;
