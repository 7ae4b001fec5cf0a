/**
 * What placement knows of a cluster: nodes, their drives, and volumes with their replicas. Plain values that control makes from its
 * records and from what nodes report; nothing here is stored. Sizes are in bytes, times in ms of one clock of the caller's.
 */

/** What replicas are spread over, from coarse to fine. A region is no level: synchronous replicas stay in one where they can. */
export const LEVELS = ['zone', 'rack', 'node'] as const;
export type Level = (typeof LEVELS)[number];

/**
 * What an operator wants of a node or a drive. `cordoned`: it gets nothing new; `draining`: its replicas are to leave, too;
 * `maintenance`: it gets nothing new, and what is away with it comes back and is not replaced.
 */
export type Service = 'open' | 'cordoned' | 'draining' | 'maintenance';

/** As control judges it. `unreachable`: silent, too short to be called down. */
export type Liveness =
  | { readonly kind: 'up' }
  | { readonly kind: 'unreachable' | 'down'; readonly sinceMs: number };

export type Node = {
  /** Unique in the cluster. */
  readonly name: string;
  // Labels; empty where there is none. Nodes of a zone without a label of a rack are taken to share one, and so on: who did not
  // say that they are apart may not lose two replicas together.
  readonly region: string;
  readonly zone: string;
  readonly rack: string;
  readonly service: Service;
  readonly liveness: Liveness;
};

/** What a node gave as one drive. */
export type Drive = {
  /** Unique in the cluster. */
  readonly id: string;
  readonly node: string;
  readonly capacityBytes: number;
  /** The sizes of all that has its place here, together. */
  readonly promisedBytes: number;
  /** What is taken of the capacity. */
  readonly writtenBytes: number;
  /** The share of time in which it was busy lately: 0 to 1. */
  readonly load: number;
  /** Its own and those of its node. */
  readonly tags: readonly string[];
  readonly service: Service;
  /** Since when it is faulted. */
  readonly downSinceMs: number | undefined;
};

export type Replica = {
  readonly drive: string;
  /** `stale`: it was synced and lacks what was changed since; `new`: it is being filled for the first time. */
  readonly state: 'synced' | 'stale' | 'new';
  /** Bytes are being copied to it. */
  readonly isRebuilding: boolean;
  /** Nobody can copy to it for now: it is not made yet, or its volume is attached to a node that is away. */
  readonly isBlocked?: boolean;
  /**
   * Undefined: it stays. `moved`: somebody wants it elsewhere, or gone; `replaced`: it was missing, and another has its place. Either goes
   * once enough others are synced; the second stays after all if it is back before.
   */
  readonly leaving: 'moved' | 'replaced' | undefined;
};

export type Volume = {
  /** Unique in the cluster. */
  readonly name: string;
  readonly sizeBytes: number;
  /** What a replica of it takes. */
  readonly writtenBytes: number;
  /** How many replicas are wanted: 1 to 5. */
  readonly replicaCount: number;
  /** With fewer synced replicas its I/O stalls (docs/replication.md, "State"). */
  readonly minimum: number;
  /** Hard: never two replicas in one domain of the level. Soft: as few as possible. */
  readonly spread: { readonly level: Level; readonly isHard: boolean };
  /** The node of its consumer, if one replica is wanted beside it. */
  readonly localTo: string | undefined;
  /** Volumes of one name are spread evenly together. */
  readonly group: string | undefined;
  /** A drive has each of these, and none of the others. */
  readonly requiredTags: readonly string[];
  readonly forbiddenTags: readonly string[];
  readonly replicas: readonly Replica[];
};

/**
 * Names the domain of a level that a node is in: of a node its name, else its labels down to that level, without empty ones in front. They
 * count together: rack 1 of zone a is not rack 1 of zone b.
 */
export function domainOf(node: Node, level: Level): string {
  if (level === 'node') return node.name;
  const labels = [node.region, node.zone, ...(level === 'rack' ? [node.rack] : [])];
  return labels.join('/').replace(/^\/+/, '');
}

/** The volume with the replica on `drive` marked. `place` then finds where another would go in its stead. */
export function withMark(volume: Volume, drive: string, leaving: Replica['leaving']): Volume {
  const replicas = volume.replicas.map((replica) =>
    replica.drive === drive ? { ...replica, leaving } : replica,
  );
  return { ...volume, replicas };
}

/** The volume with a replica more, to which nothing was copied yet. */
export function withNew(volume: Volume, drive: string): Volume {
  const added: Replica = { drive, state: 'new', isRebuilding: false, leaving: undefined };
  return { ...volume, replicas: [...volume.replicas, added] };
}
