/** Which drives may take a replica at all, whatever else is decided: the constraints on one drive, in the order in which they are asked. */

import type { Cluster, Space } from './cluster.ts';
import type { Service, Volume } from './model.ts';

/** A drive fuller than this gets no replica: its own volumes grow, and a full drive stops their writers. */
export const FULL_PERCENT = 95;

export type Hindrance =
  | { readonly constraint: 'holds'; readonly why: 'a replica of the volume is there' }
  | {
      readonly constraint: 'liveness';
      readonly of: 'node' | 'drive';
      readonly state: 'unreachable' | 'down';
      readonly sinceMs: number;
    }
  | {
      readonly constraint: 'service';
      readonly of: 'node' | 'drive';
      readonly state: Exclude<Service, 'open'>;
    }
  | {
      readonly constraint: 'tags';
      readonly tag: string;
      readonly why: 'missing' | 'forbidden';
    }
  | {
      /** The sizes of all its volumes together; or what is written, of which `limitBytes` is a share. */
      readonly constraint: 'promised' | 'space';
      readonly wouldBeBytes: number;
      readonly limitBytes: number;
    };

export type DriveConstraint = Hindrance['constraint'];

/** The first constraint that keeps the volume off the drive, if there is one. `lifted` is not asked. */
export function hindranceOf(
  space: Space,
  volume: Volume,
  cluster: Cluster,
  lifted?: DriveConstraint,
): Hindrance | undefined {
  for (const [constraint, find] of CONSTRAINTS) {
    if (constraint === lifted) continue;
    const hindrance = find(space, volume, cluster);
    if (hindrance !== undefined) return hindrance;
  }
  return undefined;
}

type Find = (space: Space, volume: Volume, cluster: Cluster) => Hindrance | undefined;

const CONSTRAINTS: readonly (readonly [DriveConstraint, Find])[] = [
  ['holds', findReplica],
  ['liveness', findAbsence],
  ['service', findService],
  ['tags', findTag],
  ['promised', findPromise],
  ['space', findFullness],
];

function findReplica({ drive }: Space, { replicas }: Volume): Hindrance | undefined {
  if (replicas.every((replica) => replica.drive !== drive.id)) return undefined;
  return { constraint: 'holds', why: 'a replica of the volume is there' };
}

function findAbsence({ node, drive }: Space): Hindrance | undefined {
  if (node.liveness.kind !== 'up') {
    const { kind: state, sinceMs } = node.liveness;
    return { constraint: 'liveness', of: 'node', state, sinceMs };
  }
  if (drive.downSinceMs === undefined) return undefined;
  return { constraint: 'liveness', of: 'drive', state: 'down', sinceMs: drive.downSinceMs };
}

function findService({ node, drive }: Space): Hindrance | undefined {
  if (node.service !== 'open') return { constraint: 'service', of: 'node', state: node.service };
  if (drive.service === 'open') return undefined;
  return { constraint: 'service', of: 'drive', state: drive.service };
}

function findTag({ drive }: Space, volume: Volume): Hindrance | undefined {
  const missing = volume.requiredTags.find((tag) => !drive.tags.includes(tag));
  if (missing !== undefined) return { constraint: 'tags', tag: missing, why: 'missing' };
  const forbidden = volume.forbiddenTags.find((tag) => drive.tags.includes(tag));
  if (forbidden === undefined) return undefined;
  return { constraint: 'tags', tag: forbidden, why: 'forbidden' };
}

function findPromise(space: Space, volume: Volume, cluster: Cluster): Hindrance | undefined {
  if (cluster.overprovisionPercent === null) return undefined;
  const limitBytes = (space.drive.capacityBytes * cluster.overprovisionPercent) / 100;
  const wouldBeBytes = space.promisedBytes + volume.sizeBytes;
  return wouldBeBytes > limitBytes
    ? { constraint: 'promised', wouldBeBytes, limitBytes }
    : undefined;
}

function findFullness(space: Space, volume: Volume): Hindrance | undefined {
  const limitBytes = (space.drive.capacityBytes * FULL_PERCENT) / 100;
  const wouldBeBytes = space.writtenBytes + volume.writtenBytes;
  return wouldBeBytes > limitBytes ? { constraint: 'space', wouldBeBytes, limitBytes } : undefined;
}
