/** A replica as its head sees it: the session with it, what it granted, and whether it can be relied on. */

import type { Base, Life, ReplicaId } from './record.ts';
import { GRANT_MS } from './replica.ts';

/** Between two renewals of the grant to read. */
export const RENEW_MS = 250;
/** A member that leaves a request or renewal unanswered for so long is gone. */
export const SUSPECT_MS = 1500;
/** Two clocks may drift apart by so much of a grant. */
const DRIFT = 0.02;

/** Why a head goes on without a member. */
export type LossCause =
  | 'never reached'
  | 'connection closed'
  | 'connection refused'
  | 'silent'
  | 'oldest request too old'
  | 'drive error'
  | 'drive full'
  | 'another life';

export class Member {
  readonly replica: ReplicaId;
  /** One bit, its own among the replicas of this head. */
  readonly seat: number;
  link: 'down' | 'connecting' | 'up' = 'down';
  /** Of the session on the link. */
  state: 'closed' | 'opening' | 'open' = 'closed';
  session = 0;
  sequence = 0;
  life: Life = 0;
  /** Up to where it holds everything. */
  base: Base | undefined;
  /** Outside S, and being made equal. */
  isTarget = false;
  /** A target that has everything: nothing is acknowledged without it any more. */
  isJoining = false;
  /** It failed a change that others did: it leaves S. */
  failed = false;
  /** It is back in another life than the registered one: it may lack what it took. */
  damaged = false;
  /** No process is there, or it does not answer: not to be waited for. */
  gone = false;
  /** Why its last session ended, or is not to be relied on. */
  lossCause: LossCause = 'never reached';
  /** When to try to connect again, ms. */
  connectAtMs = 0;
  /** When its session was asked for, and when the last open one ended; ms. */
  openSentAtMs = 0;
  missingSinceMs = 0;
  /** The epochs of the newest record that it was sent, and that it has durably. */
  sentEpoch = 0;
  keptEpoch = 0;
  grantUntilMs = 0;
  /** When the unanswered renewal was sent, or undefined. */
  renewSentAtMs: number | undefined;
  renewAtMs = 0;
  renewToken = 0;

  constructor(replica: ReplicaId, seat: number) {
    this.replica = replica;
    this.seat = seat;
  }

  get isOpen(): boolean {
    return this.state === 'open';
  }

  /** The session ended, from whichever side. */
  close(nowMs: number): void {
    if (this.state === 'open') this.missingSinceMs = nowMs;
    this.state = 'closed';
    this.grantUntilMs = 0;
    this.renewSentAtMs = undefined;
  }

  /** Not open, and not to be waited for. */
  isGone(nowMs: number): boolean {
    return !this.isOpen && (this.gone || nowMs - this.missingSinceMs > SUSPECT_MS);
  }

  opened(life: Life, nowMs: number): void {
    this.state = 'open';
    this.life = life;
    this.gone = false;
    this.failed = false;
    this.damaged = false;
    this.keptEpoch = this.sentEpoch;
    this.renewAtMs = nowMs;
    this.renewSentAtMs = undefined;
  }

  /** Its grant is timed from the sending: it began to count later. */
  renewed(): void {
    if (this.renewSentAtMs === undefined) return;
    this.grantUntilMs = this.renewSentAtMs + GRANT_MS * (1 - DRIFT);
    this.renewSentAtMs = undefined;
  }
}

/** The single seats of several. */
export function seatsIn(seats: number): number[] {
  const single: number[] = [];
  for (let rest = seats; rest !== 0; rest &= rest - 1) single.push(rest & -rest);
  return single;
}
