/**
 * The record of a replicated volume: one entry of the cluster store, and durable on each replica that was shown it. Every
 * transaction on it is conditional on the whole of it and makes the next one with the functions here, so an epoch number
 * names one record of its lineage (docs/replication.md, "State").
 */

import { assert } from '../lib/assert.ts';

/** Names one full copy of a volume. Never used again for another. */
export type ReplicaId = string;

/** How often a drive came back having possibly lost what it took. Positive. */
export type Life = number;

/** One start of one engine, and which of its attempts to be the head this is. */
export type HeadId = {
  readonly engine: string;
  /** Rises with each start of the engine. */
  readonly start: number;
  /** Rises with each claim of this start. */
  readonly attempt: number;
};

export type Attachment = {
  readonly attachId: string;
  /** The boot of the client's machine: in another one the client is gone. */
  readonly boot: string;
};

export type Record = {
  /** Changes when an operator accepts a loss; a higher one is newer. */
  readonly lineage: number;
  readonly epoch: number;
  /** The transaction that wrote it, by which its writer knows it again. */
  readonly writer: string;
  readonly head: HeadId | undefined;
  readonly attachment: Attachment | undefined;
  /** S, the in-sync set: the life in which each member was last known to lack nothing. */
  readonly members: ReadonlyMap<ReplicaId, Life>;
  /** The fewest members that S may be left with; only an accepted loss leaves fewer. See {@link fewest}. */
  readonly minimum: number;
  readonly sizeBytes: number;
};

/** An epoch up to which a replica holds what S held. */
export type Base = { readonly lineage: number; readonly epoch: number };

/** Half of the replicas, rounded up. */
export function defaultMinimum(replicaCount: number): number {
  return Math.ceil(replicaCount / 2);
}

/** How many members the next S must have: the minimum, or as many as there are where a loss was accepted. */
export function fewest({ minimum, members }: Record): number {
  return Math.min(minimum, members.size);
}

/** `head` takes the volume that `record` says is attached. */
export function claimed(record: Record, head: HeadId, writer: string): Record {
  assert(record.attachment !== undefined, 'only an attached volume has a head');
  return { ...next(record, writer), head };
}

/** S becomes `members`; of those that were in S before, and are not named in `lives`, the registered life stays. */
export function withMembers(
  record: Record,
  members: Iterable<ReplicaId>,
  { writer, lives }: { readonly writer: string; readonly lives?: ReadonlyMap<ReplicaId, Life> },
): Record {
  const set = new Map<ReplicaId, Life>();
  for (const replica of members) {
    const life = lives?.get(replica) ?? record.members.get(replica);
    assert(life !== undefined, 'a replica joins with the life in which it was made equal');
    set.set(replica, life);
  }
  assert(set.size >= fewest(record), 'S keeps its minimum');
  return { ...next(record, writer), members: set };
}

/** The volume has another size: each replica takes it with the record, before any client hears of it. */
export function resized(record: Record, sizeBytes: number, writer: string): Record {
  return { ...next(record, writer), sizeBytes };
}

/** Another number of replicas is wanted of the volume, and S has as many as that takes. */
export function withMinimum(record: Record, minimum: number, writer: string): Record {
  assert(record.members.size >= minimum, 'S keeps its minimum');
  return { ...next(record, writer), minimum };
}

/** The volume is attached anew, or by force elsewhere: whoever is its head finds another attachment and stops. */
export function attached(record: Record, attachment: Attachment, writer: string): Record {
  return { ...next(record, writer), head: undefined, attachment };
}

/**
 * An operator brings the volume up from one replica as it is, whatever that lacks (`--accept-loss`, L13): S is this replica alone, in a
 * new lineage, so that all others are rebuilt in full. Nobody is attached; a head that may still be somewhere is the operator's to
 * exclude. `record`: the newest of those that the store and the replica know. `lineage`: higher than that of `record`, and in part random,
 * so that two operators who accept two losses do not make one lineage.
 */
export function lossAccepted(
  record: Record,
  {
    replica,
    life,
    lineage,
    writer,
  }: {
    readonly replica: ReplicaId;
    readonly life: Life;
    readonly lineage: number;
    readonly writer: string;
  },
): Record {
  assert(lineage > record.lineage, 'a new lineage is higher');
  return { ...detached(record, writer), lineage, members: new Map([[replica, life]]) };
}

/** The session of the client is over, by a detach or because what it wrote may be lost. */
export function detached(record: Record, writer: string): Record {
  return { ...next(record, writer), head: undefined, attachment: undefined };
}

function next(record: Record, writer: string): Record {
  return { ...record, epoch: record.epoch + 1, writer };
}

/** Whether `a` was committed later than `b`. */
export function isNewer(a: Record, b: Record): boolean {
  return a.lineage !== b.lineage ? a.lineage > b.lineage : a.epoch > b.epoch;
}

/** Whether both are the same record: an epoch alone does not tell after the store was restored. */
export function isSame(a: Record, b: Record): boolean {
  return a.lineage === b.lineage && a.epoch === b.epoch && a.writer === b.writer;
}

/** Whether both are one attempt of one start. */
export function isSameHead(a: HeadId, b: HeadId): boolean {
  return a.engine === b.engine && a.start === b.start && a.attempt === b.attempt;
}
