/**
 * The head of one replicated volume, pure: it claims the volume, makes the members equal, serves, and changes S when a member is lost
 * (docs/replication.md). Time, network, store and memory are its host's.
 *
 * Invariants:
 *  1. Nothing is served before the members are equal, durably, and the store knows who they are.
 *  2. What is needed for an acknowledgement is the old and the new S together, until every member of the new one has its record durably.
 *  3. Once another head or attachment is found in the record, nothing is answered any more.
 */

import { Copier } from './copier.ts';
import { advanceDetach } from './detach.ts';
import type { Member } from './member.ts';
import type { HeadEnd, HeadHost, HeadOptions } from './head-host.ts';
import { Amendment, growthTo, minimumOf } from './amendment.ts';
import { MarkKeeper } from './mark-keeper.ts';
import { Members } from './members.ts';
import type { Answer } from './messages.ts';
import { Opening } from './opening.ts';
import { readApart } from './read-apart.ts';
import { Rebuild } from './rebuild.ts';
import { type HeadId, type Record, type ReplicaId, claimed, detached, isNewer } from './record.ts';
import { reviewMembers } from './review.ts';
import { Repairs } from './repairs.ts';
import { Scrub, type ScrubOptions } from './scrub.ts';
import { settle } from './settle.ts';
import { SetChanger, type TransactionOutcome } from './set-changer.ts';
import { StallLimit, findSilent } from './stalls.ts';
import { WritePath } from './write-path.ts';

export type HeadState = 'claiming' | 'opening' | 'serving' | 'detaching' | 'giving up' | 'ended';

export class Head {
  /** Takes the requests of the client, also before the head serves. */
  readonly path: WritePath;
  readonly members: Members;
  readonly copier: Copier;
  readonly changer: SetChanger;
  readonly id: HeadId;
  readonly host: HeadHost;
  /** What was acknowledged is still relied on by somebody who did not flush it. */
  clientLives: boolean;
  readonly local: ReplicaId | undefined;
  readonly #opening = new Opening(this);
  readonly rebuilding: Rebuild[] = [];
  state: HeadState = 'claiming';
  /** Called with the next commit of this head's. */
  #onCommitted: (() => void) | undefined;
  /** Members of earlier sets that are needed until the present one has its record. */
  readonly #earlier = new Set<ReplicaId>();
  readonly #marks: MarkKeeper;
  readonly #growth = new Amendment(this);
  readonly #minimum = new Amendment(this);
  readonly #stallLimit: StallLimit;
  readonly repairs = new Repairs(this);
  /** The walk that was asked for last. */
  scrub: Scrub | undefined;
  /** Why I/O stands still, for people. */
  stalled: string | undefined;

  constructor({ id, record, local, clientLives, stallLimitMs, host }: HeadOptions) {
    this.id = id;
    this.host = host;
    this.local = local;
    this.clientLives = clientLives;
    this.members = new Members(id, {
      now: () => host.now(),
      send: (replica, request) => host.send(replica, request),
      connect: (replica) => host.connect(replica),
      onOpened: (member) => this.#onOpened(member),
      onClosed: (member) => this.#onClosed(member),
    });
    this.path = new WritePath(this.members, {
      now: () => host.now(),
      local,
      onDone: (token, errno) => host.onDone(token, errno),
      readTo: (token, address) => host.readTo(token, address),
      onFlushed: (operation) => this.#marks.onFlushed(operation),
      onUnreadable: (read) => {
        this.repairs.add(read);
        if (read.isSettling) readApart(this.path, read);
      },
      onTargetFailed: (member) => {
        member.failed = true;
        this.members.close(member);
      },
      onDisagreement: (operation, seats) => settle(this, operation, seats),
    });
    this.copier = new Copier(this);
    this.changer = new SetChanger(record, {
      now: () => host.now(),
      transact: (expected, next) => host.transact(expected, next),
      onCommitted: (committed) => this.#onCommit(committed),
      onOvertaken: () => this.end('overtaken'),
    });
    this.#marks = new MarkKeeper(this);
    this.#stallLimit = new StallLimit(this, stallLimitMs);
  }

  /** Claims the volume. */
  start(): void {
    const { host } = this;
    const { known } = this.changer;
    if (known.attachment === undefined) {
      this.end('overtaken');
      return;
    }
    this.transact(claimed(known, this.id, host.newWriter()), () => {
      host.onEvent('claimed');
      this.#marks.claimEpoch = this.changer.known.epoch;
      for (const replica of this.changer.known.members.keys()) this.members.add(replica);
      this.reopen();
    });
  }

  /** The client has no more requests: drains, flushes, lets go of the volume. Ends in {@link HeadHost.onEnd}. */
  detach(): void {
    if (this.state === 'serving') this.state = 'detaching';
    advanceDetach(this, this.#marks);
  }

  /** Grows the volume; `onDone` when the store knows its size, and the client may. A later call takes the place of an unfinished one. */
  grow(sizeBytes: number, onDone: () => void): void {
    this.#growth.ask(growthTo(sizeBytes, onDone));
  }

  /** S is not to have fewer than `minimum` from now on; `onDone` when the store knows. Without effect while S has fewer. */
  setMinimum(minimum: number, onDone: () => void): void {
    this.#minimum.ask(minimumOf(minimum, onDone));
  }

  /** Compares all that the members have, in place of the walk there may be. It goes on whenever this head serves. */
  startScrub(options: ScrubOptions): void {
    this.scrub = new Scrub(this, options);
    this.scrub.advance();
  }

  /** Starts to make `replica`, which is not in S, equal and a member: in place of `replaced`, if that is one then. */
  rebuild(replica: ReplicaId, replaced?: ReplicaId): void {
    if (this.changer.known.members.has(replica)) return;
    if (this.stalled !== undefined) this.#opening.addSpare(replica);
    if (this.state !== 'serving' || this.stalled !== undefined) return;
    if (this.rebuilding.some((each) => each.replica === replica)) return;
    this.host.onEvent('rebuild begun');
    this.rebuilding.push(new Rebuild(this, this.members.add(replica), replaced));
  }

  onConnected(replica: ReplicaId): void {
    if (!this.isOver) this.members.onConnected(replica, this.changer.known);
  }

  /** `refused`: no process listens there. */
  onUnreachable(replica: ReplicaId, refused: boolean): void {
    if (this.isOver) return;
    this.members.onUnreachable(replica, refused);
    this.review();
  }

  onAnswer(answer: Answer): void {
    if (this.isOver) return;
    const member = this.members.find(answer.replica);
    if (member?.session !== answer.session) return;
    if (answer.kind === 'open' && answer.errno !== 0) {
      this.#onRefused(member, answer.record);
      return;
    }
    if (answer.kind === 'open' && member.sentEpoch < this.changer.known.epoch) {
      // The record has changed meanwhile: no request may come before it.
      this.members.open(member, this.changer.known);
      return;
    }
    if (this.members.onAnswer(member, answer)) {
      if (answer.kind === 'record') this.#onRecorded();
      else if (answer.kind === 'renew') this.path.review();
      return;
    }
    if (!member.isOpen) return;
    if (answer.life === member.life) this.path.onAnswer(member, answer);
    else this.members.suspect(member, 'another life');
  }

  onOutcome(writer: string, outcome: TransactionOutcome): void {
    if (this.state === 'ended') return;
    if (outcome.kind === 'unknown') this.host.onEvent('outcome unknown');
    this.changer.onOutcome(writer, outcome);
  }

  /** Time has passed: called at least every 50 ms. */
  tick(): void {
    if (this.state === 'ended') return;
    this.changer.tick();
    this.#stallLimit.tick();
    if (this.isOver) {
      this.endSession('given up');
      return;
    }
    this.members.tick();
    const silent = findSilent(this);
    if (silent !== undefined) this.members.suspect(silent, 'oldest request too old');
    this.path.review();
    this.review();
    for (const rebuild of this.rebuilding.slice()) rebuild.advance();
    this.#marks.tick();
    this.#growth.advance();
    this.#minimum.advance();
    this.scrub?.advance();
    advanceDetach(this, this.#marks);
  }

  /** Submits a set change; `then` is called when it is committed. */
  transact(next: Record, then: () => void): void {
    this.#onCommitted = then;
    this.changer.submit(next);
    this.updateNeeded();
  }

  /** Nothing of this head takes effect any more. */
  end(reason: HeadEnd): void {
    if (this.state === 'ended') return;
    this.#stop('ended');
    this.host.onEnd(reason);
  }

  /** Clients are not served any more. */
  get isOver(): boolean {
    return this.state === 'giving up' || this.state === 'ended';
  }

  /** I/O stood still for too long: the client's requests fail now, and its attachment goes as soon as the store can be asked. */
  giveUp(): void {
    if (this.isOver) return;
    this.#stop('giving up');
    // Nor does it go on with what waits for a transaction.
    this.#onCommitted = undefined;
    this.host.onEvent('stall given up');
    this.endSession('given up');
  }

  #stop(state: 'giving up' | 'ended'): void {
    this.state = state;
    for (const rebuild of this.rebuilding.splice(0)) rebuild.abort();
    this.path.stop();
  }

  /** The client's session is over: the attachment goes as soon as the store can be asked, and the next one is another. */
  endSession(reason: 'session lost' | 'given up'): void {
    const { known, pending } = this.changer;
    if (pending !== undefined || this.state === 'ended') return;
    this.transact(detached(known, this.host.newWriter()), () => this.end(reason));
  }

  /** Sessions with all members anew, and everything that depends on them. */
  reopen(): void {
    if (this.path.isServing) this.host.onEvent('members opened anew');
    if (this.state !== 'detaching') this.state = 'opening';
    for (const rebuild of this.rebuilding.splice(0)) rebuild.abort();
    this.path.suspend();
    this.#marks.reset();
    this.updateNeeded();
    this.#opening.begin();
  }

  /** The members are equal, and the store knows them: called by {@link Opening}. */
  serve(): void {
    if (this.state === 'opening') this.state = 'serving';
    this.stalled = undefined;
    this.#marks.onEqual();
    this.host.onEvent('serving');
    this.host.onServing(this.changer.known);
    this.clientLives = true;
    this.path.serve();
    advanceDetach(this, this.#marks);
  }

  /** What a head that knows the outcome of everything needs: S. Else whatever may be S. */
  updateNeeded(): void {
    const { known, pending } = this.changer;
    let seats = this.members.seatsOf(known.members.keys());
    this.path.memberSeats = seats;
    if (pending !== undefined) seats |= this.members.seatsOf(pending.members.keys());
    seats |= this.members.seatsOf(this.#earlier);
    let targets = 0;
    for (const member of this.members) {
      if (member.isTarget) targets |= member.seat;
      if (member.isJoining) seats |= member.seat;
    }
    this.path.neededSeats = seats;
    this.path.targetSeats = targets;
  }

  get isRecorded(): boolean {
    const { known } = this.changer;
    for (const replica of known.members.keys()) {
      const member = this.members.find(replica);
      if (member === undefined || member.keptEpoch < known.epoch || !member.isOpen) return false;
    }
    return true;
  }

  removeRebuild(rebuild: Rebuild): void {
    const at = this.rebuilding.indexOf(rebuild);
    if (at >= 0) this.rebuilding.splice(at, 1);
  }

  #onOpened(member: Member): void {
    const { known, pending } = this.changer;
    const registered = known.members.get(member.replica) ?? pending?.members.get(member.replica);
    if (member.isTarget && registered === undefined) {
      this.rebuilding.find((each) => each.replica === member.replica)?.onOpened();
      return;
    }
    if (this.path.isServing) {
      if (registered === member.life) {
        const { replica, lossCause: cause } = member;
        this.host.onEvent('member reconnected', { replica, cause });
        this.path.onOpened(member);
      } else {
        this.members.close(member);
        member.damaged = true;
        member.lossCause = 'another life';
      }
    }
    this.#onRecorded();
  }

  #onClosed(member: Member): void {
    this.path.onClosed(member);
    if (member.isTarget) {
      this.rebuilding.find((each) => each.replica === member.replica)?.abort();
      this.path.review();
    }
    this.#opening.onClosed(member);
  }

  /** A replica saw a newer record than ours, or has a newer session: then this head is not the head. */
  #onRefused(member: Member, seen: Record | undefined): void {
    this.host.onEvent('refused by a replica');
    if (seen !== undefined && isNewer(seen, this.changer.known)) {
      this.end('overtaken');
    } else {
      this.members.close(member);
      member.link = 'down';
    }
  }

  #onCommit(record: Record): void {
    const then = this.#onCommitted;
    this.#onCommitted = undefined;
    this.path.epoch = record.epoch;
    for (const member of this.members) {
      if (record.members.has(member.replica)) member.isTarget = false;
    }
    let seats = 0;
    for (const member of this.members) seats |= member.seat;
    this.members.tell(record, seats);
    then?.();
    this.#onRecorded();
  }

  /** A member has the record durably, or there is a new one. */
  #onRecorded(): void {
    if (this.isOver) return;
    if (this.isRecorded) {
      this.#earlier.clear();
      const { known, pending } = this.changer;
      for (const member of this.members.all()) {
        const { replica } = member;
        const isUsed = known.members.has(replica) || pending?.members.has(replica);
        if (isUsed !== true && !member.isTarget) this.members.remove(member);
      }
    }
    this.updateNeeded();
    this.path.review();
    this.#opening.advance();
    for (const rebuild of this.rebuilding.slice()) rebuild.advance();
    this.review();
  }

  /** Whether S can stay as it is; called whenever that may have changed. */
  review(): void {
    if (this.state === 'opening') this.#opening.advance();
    else if (this.path.isServing && this.changer.pending === undefined) reviewMembers(this);
  }

  /** I/O stands still. */
  stall(reason: string): void {
    if (this.stalled === undefined) this.host.onEvent('stalled');
    this.stalled = reason;
  }

  /** A set change is committed: who was in S before it is needed until the new one has its record. */
  outgrow(members: Iterable<ReplicaId>): void {
    for (const replica of members) {
      if (!this.changer.known.members.has(replica)) this.#earlier.add(replica);
    }
    this.updateNeeded();
  }
}
