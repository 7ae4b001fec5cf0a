/** What control asks of heads, and what they tell it. */

import type { HeadEnd } from '../../replication/head-host.ts';
import type { HeadId, Record, ReplicaId } from '../../replication/record.ts';

/** A transaction that a head waits for. */
export type Transaction = {
  readonly volume: string;
  readonly expected: Record;
  readonly next: Record;
};

/** A head that ended by itself, for control to know of. */
export type EndedHead = {
  readonly volume: string;
  readonly attachId: string;
  readonly end: HeadEnd;
};

/** How a volume is to be served. */
export type HeadStart = {
  readonly volume: string;
  readonly attachId: string;
  /** As the store has it; its attachment is this one. */
  readonly record: Record;
  readonly head: HeadId;
  /** The replica beside the head: undefined where this engine has none. */
  readonly local: ReplicaId | undefined;
  readonly clientLives: boolean;
  /** The nodes of replicas. Of those that it does not name, and of this node's, the head expects that they are on a drive here. */
  readonly places: ReadonlyMap<ReplicaId, string>;
  /** A client whose requests stand still for so long has its session ended. */
  readonly stallLimitMs: number;
};
