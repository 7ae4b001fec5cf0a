/** The replicas that one head talks to: seats, sessions, grants (docs/replication.md, "Sessions"). */

import { assert } from '../lib/assert.ts';
import { type LossCause, Member, RENEW_MS, SUSPECT_MS } from './member.ts';
import { type Answer, Request } from './messages.ts';
import type { HeadId, Record, ReplicaId } from './record.ts';

/** Seats are bits: members of S, and replicas that are being made equal. */
const SEATS_MAX = 16;
/** Between two tries to connect. */
const CONNECT_MS = 50;

export type MembersHost = {
  now(): number;
  /** Sends over the present connection to `replica`; without effect where there is none. The request is reused after the call. */
  send(replica: ReplicaId, request: Request): void;
  /** Ends in {@link Members.onConnected} or {@link Members.onUnreachable}; an earlier connection to it is closed. */
  connect(replica: ReplicaId): void;
  onOpened(member: Member): void;
  onClosed(member: Member): void;
};

export class Members implements Iterable<Member> {
  /** Reused for each one that is sent. */
  readonly request = new Request();
  readonly #head: HeadId;
  readonly #host: MembersHost;
  readonly #all: Member[] = [];
  #nextSession = 1;
  /** Seats whose sessions are open. */
  openSeats = 0;

  constructor(head: HeadId, host: MembersHost) {
    this.#head = head;
    this.#host = host;
  }

  /** Those of this moment: for loops in which some come or go. */
  all(): Member[] {
    return this.#all.slice();
  }

  [Symbol.iterator](): Iterator<Member> {
    return this.#all[Symbol.iterator]();
  }

  find(replica: ReplicaId): Member | undefined {
    for (const member of this.#all) if (member.replica === replica) return member;
    return undefined;
  }

  at(seat: number): Member {
    const member = this.#all.find((each) => each.seat === seat);
    assert(member !== undefined, 'a seat has its member');
    return member;
  }

  /** The member of this replica, added where it is new. */
  add(replica: ReplicaId): Member {
    const present = this.find(replica);
    if (present !== undefined) return present;
    let seat = 1;
    while (this.#all.some((member) => member.seat === seat)) seat *= 2;
    assert(seat < 2 ** SEATS_MAX, 'a head has a seat for each replica');
    const member = new Member(replica, seat);
    member.missingSinceMs = this.#host.now();
    this.#all.push(member);
    return member;
  }

  /** The head does without it: no session is kept with it. */
  remove(member: Member): void {
    this.close(member);
    const at = this.#all.indexOf(member);
    if (at >= 0) this.#all.splice(at, 1);
  }

  seatsOf(replicas: Iterable<ReplicaId>): number {
    let seats = 0;
    for (const replica of replicas) seats |= this.find(replica)?.seat ?? 0;
    return seats;
  }

  /** Asks for a session at `record`, in place of the one there may be. */
  open(member: Member, record: Record): void {
    this.close(member);
    if (member.link !== 'up') return;
    member.state = 'opening';
    member.session = this.#nextSession++;
    member.sequence = 0;
    member.sentEpoch = record.epoch;
    member.openSentAtMs = this.#host.now();
    const request = this.request;
    request.kind = 'open';
    request.session = member.session;
    request.sequence = 0;
    request.token = 0;
    request.head = this.#head;
    request.record = record;
    this.#host.send(member.replica, request);
  }

  /** A session at `record`, over the connection there is or a new one. */
  reach(member: Member, record: Record): void {
    if (member.link === 'up') this.open(member, record);
    else if (member.link === 'down') this.#connect(member);
  }

  close(member: Member): void {
    if (member.state === 'closed') return;
    const wasOpen = member.isOpen;
    member.close(this.#host.now());
    this.openSeats &= ~member.seat;
    if (wasOpen) this.#host.onClosed(member);
  }

  /** Sends {@link request}, which the caller filled in, in the session that is open. */
  send(member: Member): void {
    assert(member.isOpen, 'requests go over an open session');
    const request = this.request;
    request.session = member.session;
    request.sequence = ++member.sequence;
    this.#host.send(member.replica, request);
  }

  /** Tells all of `seats` of a set change; those without a session hear of it when theirs is opened. */
  tell(record: Record, seats: number): void {
    for (const member of this.#all) {
      if ((member.seat & seats) === 0 || !member.isOpen || member.sentEpoch >= record.epoch)
        continue;
      member.sentEpoch = record.epoch;
      const request = this.request;
      request.kind = 'record';
      request.token = record.epoch;
      request.epoch = record.epoch;
      request.record = record;
      this.send(member);
    }
  }

  onConnected(replica: ReplicaId, record: Record): void {
    const member = this.find(replica);
    if (member === undefined) return;
    member.link = 'up';
    this.open(member, record);
  }

  /** No connection could be made, or the one there was is gone. `refused`: no process is there. */
  onUnreachable(replica: ReplicaId, refused: boolean): void {
    const member = this.find(replica);
    if (member === undefined) return;
    const wasUp = member.link === 'up';
    member.link = 'down';
    member.gone ||= refused;
    if (wasUp) member.lossCause = 'connection closed';
    else if (refused) member.lossCause = 'connection refused';
    // At once after a loss, so that a broken connection costs no set change.
    member.connectAtMs = this.#host.now() + (wasUp ? 0 : CONNECT_MS);
    this.close(member);
    if (wasUp) this.#connect(member);
  }

  /** Takes answers about sessions; true: it was one. Answers of another session are the caller's to drop. */
  onAnswer(member: Member, answer: Answer): boolean {
    if (answer.kind === 'open' && member.state === 'opening') {
      member.opened(answer.life, this.#host.now());
      member.base = answer.base;
      this.openSeats |= member.seat;
      this.#host.onOpened(member);
      return true;
    }
    if (answer.kind === 'renew') {
      if (answer.token === member.renewToken) member.renewed();
      return true;
    }
    if (answer.kind === 'record') {
      member.keptEpoch = Math.max(member.keptEpoch, answer.token);
      return true;
    }
    return false;
  }

  tick(): void {
    const now = this.#host.now();
    for (const member of this.all()) {
      if (member.link === 'down' && now >= member.connectAtMs) this.#connect(member);
      else if (member.isOpen) this.#renew(member, now);
      else if (member.state === 'opening' && now - member.openSentAtMs > SUSPECT_MS) {
        this.suspect(member, 'silent');
      }
    }
  }

  /** It does not answer: it is not waited for, and tried anew. */
  suspect(member: Member, cause: LossCause): void {
    member.gone = true;
    member.lossCause = cause;
    this.#connect(member);
  }

  #connect(member: Member): void {
    this.close(member);
    member.link = 'connecting';
    this.#host.connect(member.replica);
  }

  #renew(member: Member, now: number): void {
    if (member.renewSentAtMs !== undefined) {
      if (now - member.renewSentAtMs > SUSPECT_MS) this.suspect(member, 'silent');
      return;
    }
    if (now < member.renewAtMs) return;
    member.renewAtMs = now + RENEW_MS;
    member.renewSentAtMs = now;
    const request = this.request;
    request.kind = 'renew';
    request.token = ++member.renewToken;
    this.send(member);
  }
}
