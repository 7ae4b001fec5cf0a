/** What a head is given, and what it tells: everything outside of it. */

import type { CopyBuffers } from './copier.ts';
import type { LossCause } from './member.ts';
import type { Request } from './messages.ts';
import type { HeadId, Record, ReplicaId } from './record.ts';

/** What happens to a volume and its replicas, for logs, events and the coverage of the simulator. */
export type HeadEvent =
  | 'claimed'
  | 'member left out'
  | 'extents made equal'
  | 'lives registered'
  | 'serving'
  | 'member lost'
  | 'member reconnected'
  | 'members opened anew'
  | 'rebuild begun'
  | 'rebuild given up'
  | 'member joined'
  | 'member replaced'
  | 'gone member replaced'
  | 'failed member leaves'
  | 'refusal copied to all'
  | 'copy repaired'
  | 'copies differed'
  | 'no readable copy'
  | 'scrub begun'
  | 'scrub done'
  | 'stalled'
  | 'stall given up'
  | 'grown'
  | 'minimum changed'
  | 'outcome unknown'
  | 'refused by a replica';

/** What an event is about: a replica, a piece of the volume; of a member that is left out or lost why. */
export type EventAbout = {
  readonly replica?: ReplicaId;
  readonly extent?: number;
  readonly cause?: LossCause;
};

/** Why a head ended: another one or another attachment is there; it was detached; what was acknowledged may be lost; or it stood still for too long. */
export type HeadEnd = 'overtaken' | 'detached' | 'session lost' | 'given up';

export type HeadHost = CopyBuffers & {
  /** CLOCK_BOOTTIME, ms. */
  now(): number;
  send(replica: ReplicaId, request: Request): void;
  connect(replica: ReplicaId): void;
  /** A conditional transaction on the record; ends in {@link Head.onOutcome}. */
  transact(expected: Record, next: Record): void;
  /** An id that no other transaction ever had. */
  newWriter(): string;
  /** A client's request is over. */
  onDone(token: number, errno: number): void;
  /**
   * Where a client's read goes, as it is sent: `address`, unless a replica that was given up may still write there; then other memory that
   * the client has for it; 0: there is none yet, and it is asked again.
   */
  readTo(token: number, address: number): number;
  /** From now on requests are answered. Called again after the members were made equal anew. */
  onServing(record: Record): void;
  onEnd(end: HeadEnd): void;
  onEvent(event: HeadEvent, about?: EventAbout): void;
};

export type HeadOptions = {
  readonly id: HeadId;
  /** As read from the store. */
  readonly record: Record;
  /** The replica beside the head: read first. Undefined: there is none, and any is read. */
  readonly local: ReplicaId | undefined;
  /** The client of the attachment is there; false: it is new, or died with its machine. */
  readonly clientLives: boolean;
  /** A client's session ends when none of its requests was answered for so long. */
  readonly stallLimitMs: number;
  readonly host: HeadHost;
};
