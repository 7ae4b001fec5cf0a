/**
 * The requests that a head has under way, in the order in which it parsed them. One that overlaps an earlier unfinished one waits for
 * it, if either is a change: so no replica ever sees two overlapping requests at once, and a read sees all of a change or
 * nothing (docs/replication.md, "The write path").
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { type Answer, type RequestKind, RequestBody, isChange } from './messages.ts';
import type { Member } from './member.ts';

/** Questions of the head itself: one seat or several, an answer of each. */
export type Question = Range & {
  readonly kind: 'read' | 'copy' | 'flush' | 'digest' | 'marks' | 'survey' | 'release';
  readonly seats: number;
  /** Of a digest its extent, of a survey the first. */
  readonly number?: number;
  readonly dataMask?: number;
  readonly stamp?: number;
  readonly onAnswer?: (member: Member, answer: Answer) => void;
  readonly onDone: (errno: number) => void;
};

/** What a request is about. */
export type Range = {
  readonly offsetBytes?: number;
  readonly lengthBytes?: number;
  readonly address?: number;
};

/** A request from its parsing to the last answer to it. */
export class Operation extends RequestBody {
  kind: RequestKind | 'hold' = 'read';
  /** The client's name for it; -1: the head's own. */
  token = -1;
  /** Names it to the replicas: their answers carry it. Never used again in the life of the head. */
  id = 0;
  /** What the head itself asks, past the order of requests, and whom. */
  question: Question | undefined = undefined;
  onlySeats = 0;
  /** Not over yet. */
  isActive = false;
  started = false;
  /** Its client knows; a replica outside S did not answer yet. */
  isAcknowledged = false;
  /** Its range is being made equal. */
  isSettling = false;
  /** Bits of the replicas' seats: asked in their present sessions; took it; refused it. */
  sentSeats = 0;
  tookSeats = 0;
  failedSeats = 0;
  errno = 0;
  /** Since when it waits for an answer, ms. */
  sentAtMs = 0;
  /** Of the head's own ones: called when it may start (a hold), or with its outcome. */
  onDone: ((errno: number) => void) | undefined = undefined;

  get isChange(): boolean {
    return isChange(this.kind);
  }

  /** Whether order matters to it; a question is asked while its range is held. */
  get hasRange(): boolean {
    return this.question === undefined && this.kind !== 'flush';
  }

  get firstBlock(): number {
    return Math.floor(this.offsetBytes / BLOCK_BYTES);
  }

  /** One past the last. */
  get endBlock(): number {
    return Math.ceil((this.offsetBytes + this.lengthBytes) / BLOCK_BYTES);
  }
}

export class Operations implements Iterable<Operation> {
  readonly #active: Operation[] = [];
  readonly #spare: Operation[] = [];
  /** Over, and maybe still in the hands of a caller. */
  readonly #over: Operation[] = [];
  #nextId = 1;

  get size(): number {
    return this.#active.length;
  }

  /** Those of this moment: for loops in which some end or come. */
  all(): Operation[] {
    return this.#active.slice();
  }

  [Symbol.iterator](): Iterator<Operation> {
    return this.#active[Symbol.iterator]();
  }

  /** A fresh one, last in order, for the caller to fill in before it calls {@link mayStart}. */
  add(kind: Operation['kind'], token: number, range?: Range): Operation {
    const operation = this.#spare.pop() ?? new Operation();
    operation.id = this.#nextId++;
    operation.isActive = true;
    operation.kind = kind;
    operation.token = token;
    operation.offsetBytes = range?.offsetBytes ?? 0;
    operation.lengthBytes = range?.lengthBytes ?? 0;
    operation.address = range?.address ?? 0;
    this.#active.push(operation);
    return operation;
  }

  find(id: number): Operation | undefined {
    for (const operation of this.#active) if (operation.id === id) return operation;
    return undefined;
  }

  /** Whether nothing before it overlaps it. */
  mayStart(operation: Operation): boolean {
    for (const other of this.#active) {
      if (other === operation) return true;
      if (conflict(other, operation)) return false;
    }
    return true;
  }

  /** Takes out one that is over. */
  remove(operation: Operation): void {
    if (!operation.isActive) return;
    operation.isActive = false;
    this.#active.splice(this.#active.indexOf(operation), 1);
    this.#over.push(operation);
  }

  /** Those that are over may be handed out again: called when nothing of this is on the stack. */
  recycle(): void {
    for (const operation of this.#over) this.#spare.push(reset(operation));
    this.#over.length = 0;
  }
}

function conflict(a: Operation, b: Operation): boolean {
  if (!a.hasRange || !b.hasRange || (a.kind === 'read' && b.kind === 'read')) return false;
  return a.firstBlock < b.endBlock && b.firstBlock < a.endBlock;
}

const EMPTY = new RequestBody();

function reset(operation: Operation): Operation {
  operation.takeBody(EMPTY);
  operation.question = undefined;
  operation.onlySeats = 0;
  operation.started = false;
  operation.isAcknowledged = false;
  operation.isSettling = false;
  operation.sentSeats = 0;
  operation.tookSeats = 0;
  operation.failedSeats = 0;
  operation.errno = 0;
  operation.onDone = undefined;
  return operation;
}
