/** A volume that somebody wants to have. */

import { Refusal } from '../model/errors.ts';
import type { AutoGrow, Labels, Owner, Replication } from '../model/records.ts';
import type { ControlParts } from './parts.ts';

export type VolumeWish = {
  readonly name: string;
  readonly sizeBytes: number;
  /** Nobody named the size: of a volume that is there it may be another. */
  readonly isSizeDefault?: boolean | undefined;
  /** The one with the most space without it. */
  readonly drive: string | undefined;
  readonly owner?: Owner | undefined;
  readonly labels?: Labels | undefined;
  readonly autoGrow?: AutoGrow | undefined;
  readonly createdBy?: string | undefined;
  readonly plugin?: string | undefined;
  readonly fsType?: 'ext4' | 'xfs' | undefined;
  readonly replicas?: ReplicasWish | undefined;
};

/** What of its replicas somebody names; nothing of it is there to name on a single machine. */
export type ReplicasWish = {
  readonly count?: number | undefined;
  readonly spread?: Replication['spread'] | undefined;
  readonly local?: boolean | undefined;
};

/** Without a wish: so many, if there are so many nodes. */
const REPLICA_COUNT = 3;

/** What a wish comes to. Undefined: a volume on one drive of a single machine. Throws REPLICAS_INVALID. */
export async function replicationOf(
  { node, records }: ControlParts,
  { drive, replicas }: VolumeWish,
): Promise<Replication | undefined> {
  if (node === undefined) {
    const count = replicas?.count ?? 1;
    if (count === 1) return undefined;
    const problem = 'this is a single machine (holdfast up --nodes N makes a cluster)';
    throw new Refusal('REPLICAS_INVALID', { wanted: `${count} replicas`, problem });
  }
  if (drive !== undefined) {
    const problem = 'in a cluster replicas are placed (holdfast volume create --replicas N)';
    throw new Refusal('REPLICAS_INVALID', { wanted: `drive "${drive}"`, problem });
  }
  const nodes = await records.nodes();
  return {
    count: replicas?.count ?? Math.min(REPLICA_COUNT, nodes.length),
    spread: replicas?.spread ?? { level: 'node', isHard: true },
    local: replicas?.local ?? false,
  };
}
