/**
 * The write path of one replicated volume: numbers changes, keeps overlapping requests apart, sends changes to every replica of S,
 * and acknowledges what all of them took (docs/replication.md, "The write path").
 *
 * Invariants:
 *  1. A change is acknowledged only when every member that is needed took it.
 *  2. A request is taken out when every replica that it was sent to, and whose session is open, has answered. Until then it holds its range.
 *  3. A read is answered only under grants of every member that is needed.
 */

import { ECONNRESET, EIO, ENOSPC, ESHUTDOWN } from '../model/errno.ts';
import type { HeadHost } from './head-host.ts';
import { type Member, seatsIn } from './member.ts';
import type { Members } from './members.ts';
import type { Answer, Change } from './messages.ts';
import { type Operation, Operations, type Question, type Range } from './operations.ts';

export type WritePathHost = Pick<HeadHost, 'now' | 'onDone' | 'readTo'> & {
  /** The replica to read from first. */
  readonly local: string | undefined;
  /** Every needed member made durable what it took before. */
  onFlushed(operation: Operation): void;
  /** Some members could not read all of it, or none could: then it waits for {@link WritePath.readAgain}. */
  onUnreadable(operation: Operation): void;
  /** A replica outside S could not do a change. */
  onTargetFailed(member: Member): void;
  /** All of `seats` refused or failed a request that others did, or all failed; the range is still held. See {@link WritePath.settled}. */
  onDisagreement(operation: Operation, failedSeats: number): void;
};

export class WritePath {
  readonly operations: Operations = new Operations();
  /** The epoch that goes on every request. */
  epoch = 0;
  /** Seats of all members whose answers an acknowledgement needs; set by the head, which calls {@link review} after it. */
  neededSeats = 0;
  /** Seats of S as it is known: only they are read. */
  memberSeats = 0;
  /** Seats that get changes besides: of replicas that are being made equal. */
  targetSeats = 0;
  isServing = false;
  /** Of clients, since the head began. */
  answerCount = 0;
  /** Of the next change. */
  nextNumber = 1;
  readonly #members: Members;
  readonly #host: WritePathHost;

  constructor(members: Members, host: WritePathHost) {
    this.#members = members;
    this.#host = host;
  }

  /** The number below which all changes are over, at every replica that got them. */
  get oldestNumber(): number {
    for (const operation of this.operations) {
      if (operation.number > 0 && operation.isChange) return operation.number;
    }
    return this.nextNumber;
  }

  /** Seats that can be read: of S, that of the replica beside the head first. */
  get readSeats(): number[] {
    const isLocal = (seat: number): number =>
      Number(this.#members.at(seat).replica === this.#host.local);
    return seatsIn(this.memberSeats & this.#members.openSeats).toSorted(
      (a, b) => isLocal(b) - isLocal(a),
    );
  }

  change(token: number, change: Change): void {
    const operation = this.operations.add(change.kind, token, change);
    operation.number = this.nextNumber++;
    operation.fua = change.fua ?? false;
    operation.allocate = change.allocate ?? false;
    this.#startIfFree(operation);
  }

  read(token: number, range: Range): void {
    this.#startIfFree(this.operations.add('read', token, range));
  }

  flush(token: number, onDone?: (errno: number) => void): void {
    const oldest = this.oldestNumber;
    const operation = this.operations.add('flush', token);
    operation.number = oldest;
    operation.onDone = onDone;
    this.#startIfFree(operation);
  }

  /**
   * Keeps the range from all later requests, once earlier ones that overlap are over: then `onHeld(0)`; ECONNRESET: it never came to
   * that. Returns its id, for {@link letGo}; sessions made anew end it too.
   */
  hold(range: Range, onHeld: (errno: number) => void): number {
    const operation = this.operations.add('hold', -1, range);
    operation.onDone = onHeld;
    const { id } = operation;
    this.#startIfFree(operation);
    return id;
  }

  letGo(holdId: number): void {
    const hold = this.operations.find(holdId);
    if (hold !== undefined) this.#remove(hold);
  }

  /** Asks the replicas themselves, past the order of requests: of a range, only while it is held. ECONNRESET: one of them is lost. */
  ask(question: Question): void {
    if ((question.seats & ~this.#members.openSeats) !== 0) {
      question.onDone(ECONNRESET);
      return;
    }
    const operation = this.operations.add(question.kind, -1, question, question);
    operation.onlySeats = question.seats;
    operation.number = question.kind === 'copy' ? this.nextNumber++ : (question.number ?? 0);
    operation.dataMask = question.dataMask ?? 0;
    operation.stamp = question.stamp ?? 0;
    operation.started = true;
    this.#sendTo(operation, question.seats);
  }

  onAnswer(member: Member, answer: Answer): void {
    const operation = this.operations.find(answer.token);
    if (operation === undefined || (operation.sentSeats & member.seat) === 0) return;
    if (answer.errno === 0) {
      operation.tookSeats |= member.seat;
      operation.question?.onAnswer?.(member, answer);
    } else {
      operation.failedSeats |= member.seat;
      operation.errno = answer.errno;
      const isOutside = (member.seat & this.neededSeats) === 0;
      if (
        operation.isChange &&
        operation.question === undefined &&
        (isOutside || operation.isAcknowledged)
      ) {
        this.#host.onTargetFailed(member);
      }
    }
    this.#advance(operation);
  }

  /** A member's session is open again: it gets again what it did not answer. */
  onOpened(member: Member): void {
    if (((this.neededSeats | this.memberSeats) & member.seat) === 0) return;
    for (const operation of this.operations.all()) {
      const { started, question, kind, isSettling } = operation;
      // What it refused before, others are being made equal to.
      if (!started || isSettling || question !== undefined || kind === 'hold') continue;
      if (operation.kind === 'read') {
        if (operation.sentSeats === 0) this.#sendRead(operation);
      } else if ((operation.tookSeats & member.seat) === 0) {
        this.#send(operation, member);
      }
    }
  }

  /** A session ended: nothing that was asked in it will be answered. */
  onClosed(member: Member): void {
    for (const operation of this.operations.all()) {
      if (operation.question !== undefined) {
        if ((operation.onlySeats & member.seat) !== 0) this.#end(operation, ECONNRESET);
        continue;
      }
      if ((operation.sentSeats & member.seat) === 0) continue;
      if (((operation.tookSeats | operation.failedSeats) & member.seat) === 0) {
        operation.sentSeats &= ~member.seat;
        if (operation.kind === 'read') this.#sendRead(operation);
      }
      this.#advance(operation);
    }
  }

  /** Whether the replica in `seat` took everything that is acknowledged. */
  hasTakenAll(seat: number): boolean {
    for (const operation of this.operations) {
      if (operation.isAcknowledged && operation.isChange && (operation.tookSeats & seat) === 0)
        return false;
    }
    return true;
  }

  /** What is needed has changed, or a grant came, or time passed. */
  review(): void {
    for (const operation of this.operations.all()) {
      if (!operation.started || operation.question !== undefined) continue;
      if (operation.kind === 'flush') this.#sendFlush(operation);
      this.#advance(operation);
    }
  }

  /** Clients' requests start from now on, those that came before first. */
  serve(): void {
    this.isServing = true;
    for (const operation of this.operations.all()) this.#startIfFree(operation);
  }

  /** Sessions are made anew: what is not acknowledged is sent again once {@link serve} is called; the head's own questions fail. */
  suspend(): void {
    this.isServing = false;
    for (const operation of this.operations.all()) {
      if (operation.question !== undefined || operation.kind === 'hold') {
        this.#end(operation, ECONNRESET);
      } else if (operation.isAcknowledged) {
        this.operations.remove(operation);
      } else {
        operation.started = false;
        operation.isSettling = false;
        operation.sentSeats = 0;
        operation.tookSeats = 0;
        operation.failedSeats = 0;
      }
    }
  }

  /** Nothing is answered any more but with ESHUTDOWN. */
  stop(): void {
    this.isServing = false;
    for (const operation of this.operations.all()) {
      if (operation.isAcknowledged) this.operations.remove(operation);
      else this.#end(operation, operation.token < 0 ? ECONNRESET : ESHUTDOWN);
    }
  }

  /** What the needed members disagreed about, or all refused, is equal on all of them: `errno` is true of each. */
  settled(operation: Operation, errno: number): void {
    operation.isSettling = false;
    this.#end(operation, errno);
  }

  /** What no member could read as a whole was put together (0), or could not be (EIO). Else, or where S may be another, {@link review} tries anew. */
  readAgain(operation: Operation, errno: number): void {
    operation.isSettling = false;
    operation.sentSeats = 0;
    if (errno === EIO && this.neededSeats === this.memberSeats) this.#end(operation, errno);
    if (errno !== 0) return;
    operation.failedSeats = 0;
    operation.tookSeats = this.memberSeats;
    this.#advance(operation);
  }

  #startIfFree(operation: Operation): void {
    if (!operation.isActive || operation.started || operation.waitsFor > 0) return;
    if (!this.isServing) return;
    operation.started = true;
    if (operation.kind === 'hold') {
      const onHeld = operation.onDone;
      operation.onDone = undefined;
      onHeld?.(0);
    } else if (operation.kind === 'read') {
      this.#sendRead(operation);
    } else if (operation.kind === 'flush') {
      this.#sendFlush(operation);
      this.#advance(operation);
    } else {
      const seats = this.neededSeats | this.targetSeats;
      this.#sendTo(operation, seats & this.#members.openSeats);
    }
  }

  #sendFlush(operation: Operation): void {
    this.#sendTo(operation, this.neededSeats & this.#members.openSeats & ~operation.sentSeats);
  }

  #sendTo(operation: Operation, seats: number): void {
    for (const member of this.#members) {
      if ((member.seat & seats) !== 0) this.#send(operation, member);
    }
  }

  #send(operation: Operation, member: Member): void {
    operation.sentSeats |= member.seat;
    if (operation.isChange) operation.failedSeats &= ~member.seat;
    operation.sentAtMs = this.#host.now();
    const request = this.#members.request;
    if (operation.kind === 'hold') return;
    request.kind = operation.kind;
    request.token = operation.id;
    request.epoch = this.epoch;
    request.takeBody(operation);
    this.#members.send(member);
  }

  /** To the replica beside the head, or any other of S that did not fail it. */
  #sendRead(operation: Operation): void {
    const usable = this.memberSeats & this.#members.openSeats & ~operation.failedSeats;
    let chosen: Member | undefined;
    for (const member of this.#members) {
      if ((member.seat & usable) === 0) continue;
      if (chosen === undefined || member.replica === this.#host.local) chosen = member;
    }
    if (chosen !== undefined && this.#hasMemory(operation)) this.#send(operation, chosen);
  }

  /** False: a drive that hangs may write there yet, and there is nothing else for now. */
  #hasMemory(operation: Operation): boolean {
    const address = this.#host.readTo(operation.token, operation.address);
    if (address !== 0) operation.address = address;
    return address !== 0;
  }

  #advance(operation: Operation): void {
    const { isActive, started, isSettling } = operation;
    if (!isActive || !started || isSettling || operation.kind === 'hold') return;
    if (operation.question !== undefined) this.#advanceQuestion(operation);
    else if (operation.kind === 'read') this.#advanceRead(operation);
    else this.#advanceChange(operation);
  }

  #advanceQuestion(operation: Operation): void {
    const answered = operation.tookSeats | operation.failedSeats;
    if ((operation.onlySeats & ~answered) !== 0) return;
    this.#end(operation, operation.failedSeats === 0 ? 0 : operation.errno);
  }

  #advanceRead(operation: Operation): void {
    if (operation.tookSeats !== 0) {
      if (!this.#isGranted()) return;
      if (operation.failedSeats !== 0) this.#host.onUnreadable(operation);
      this.#end(operation, 0);
      return;
    }
    if ((operation.sentSeats & ~operation.failedSeats) !== 0) return;
    if ((this.memberSeats & ~operation.failedSeats) !== 0) this.#sendRead(operation);
    else if (this.#hasMemory(operation)) {
      operation.isSettling = true;
      this.#host.onUnreadable(operation);
    }
  }

  #isGranted(): boolean {
    const now = this.#host.now();
    for (const member of this.#members) {
      if ((member.seat & this.neededSeats) !== 0 && now >= member.grantUntilMs) return false;
    }
    return true;
  }

  #advanceChange(operation: Operation): void {
    const needed = this.neededSeats;
    const answered = operation.tookSeats | operation.failedSeats;
    const awaited = operation.sentSeats & this.#members.openSeats & ~answered;
    if (!operation.isAcknowledged) {
      if ((needed & ~answered) !== 0) return;
      const failed = operation.failedSeats & needed;
      if (failed !== 0) {
        // Its range is written to on every replica that got it: none may still be at it.
        if (awaited === 0) this.#disagree(operation, failed);
        return;
      }
      operation.isAcknowledged = true;
      this.#acknowledge(operation);
    }
    // What is acknowledged before a target became needed is still sent to it again, if its session breaks.
    if (awaited === 0 && (needed & ~operation.tookSeats) === 0) this.#remove(operation);
  }

  #disagree(operation: Operation, failedSeats: number): void {
    const { neededSeats } = this;
    const isAlone = (neededSeats & (neededSeats - 1)) === 0 && operation.tookSeats === 0;
    if (isAlone && operation.errno === ENOSPC) {
      this.#end(operation, operation.errno);
      return;
    }
    operation.isSettling = true;
    this.#host.onDisagreement(operation, failedSeats);
  }

  #acknowledge(operation: Operation): void {
    const { token, onDone } = operation;
    operation.onDone = undefined;
    if (operation.kind === 'flush') this.#host.onFlushed(operation);
    if (onDone !== undefined) onDone(0);
    if (token >= 0) this.#answer(token, 0);
  }

  #end(operation: Operation, errno: number): void {
    if (!operation.isActive) return;
    const { token, onDone, question } = operation;
    operation.onDone = undefined;
    operation.question = undefined;
    const told = operation.isAcknowledged;
    this.#remove(operation);
    if (told) return;
    if (question !== undefined) question.onDone(errno);
    else if (onDone !== undefined) onDone(errno);
    if (token >= 0) this.#answer(token, errno);
  }

  #answer(token: number, errno: number): void {
    this.answerCount++;
    this.#host.onDone(token, errno);
  }

  #remove(operation: Operation): void {
    if (!this.operations.remove(operation) || !this.isServing) return;
    for (const other of this.operations.all()) this.#startIfFree(other);
  }
}
