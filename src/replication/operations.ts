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
  /** Of a digest its extent, of marks and a survey the first. */
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
  /** Order matters to it: it has a range, and is no question. */
  isOrdered = false;
  /** Of an ordered one: its blocks, the end exclusive. */
  firstBlock = 0;
  endBlock = 0;
  /** How many earlier ones that overlap it are not over. */
  waitsFor = 0;
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
}

/** Answers find their operation by the low bits of its id; a power of two, doubled while half of it is taken. */
const TABLE_LENGTH = 1024;

export class Operations implements Iterable<Operation> {
  readonly #active: Operation[] = [];
  readonly #spare: Operation[] = [];
  /** Over, and maybe still in the hands of a caller. */
  readonly #over: Operation[] = [];
  /** Ordered ones that are no reads: without them none waits for another. */
  #changeCount = 0;
  #table = Array.from<Operation | undefined>({ length: TABLE_LENGTH });
  #nextId = 1;
  /** Of clients. */
  clientCount = 0;

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

  /** A fresh one, last in order, for the caller to fill in. A `question` is asked past the order of the others. */
  add(kind: Operation['kind'], token: number, range?: Range, question?: Question): Operation {
    const operation = this.#spare.pop() ?? new Operation();
    operation.id = this.#freshId();
    this.#table[operation.id % this.#table.length] = operation;
    operation.isActive = true;
    operation.kind = kind;
    operation.token = token;
    operation.question = question;
    operation.offsetBytes = range?.offsetBytes ?? 0;
    operation.lengthBytes = range?.lengthBytes ?? 0;
    operation.address = range?.address ?? 0;
    operation.isOrdered = question === undefined && kind !== 'flush';
    operation.firstBlock = Math.floor(operation.offsetBytes / BLOCK_BYTES);
    operation.endBlock = Math.ceil((operation.offsetBytes + operation.lengthBytes) / BLOCK_BYTES);
    operation.waitsFor = 0;
    if (isOrderedChange(operation)) this.#changeCount++;
    if (token >= 0) this.clientCount++;
    if (this.#changeCount > 0) {
      for (const other of this.#active) if (conflict(other, operation)) operation.waitsFor++;
    }
    this.#active.push(operation);
    return operation;
  }

  find(id: number): Operation | undefined {
    const found = this.#table[id % this.#table.length];
    return found?.id === id ? found : undefined;
  }

  /** Takes out one that is over; whether another one waits for nothing any more. */
  remove(operation: Operation): boolean {
    if (!operation.isActive) return false;
    operation.isActive = false;
    this.#table[operation.id % this.#table.length] = undefined;
    const at = this.#active.indexOf(operation);
    this.#active.splice(at, 1);
    this.#over.push(operation);
    if (operation.token >= 0) this.clientCount--;
    if (this.#changeCount === 0) return false;
    if (isOrderedChange(operation)) this.#changeCount--;
    let freesOne = false;
    for (let i = at; i < this.#active.length; i++) {
      const later = this.#active[i];
      if (later === undefined || !conflict(operation, later)) continue;
      later.waitsFor--;
      freesOne ||= later.waitsFor === 0;
    }
    return freesOne;
  }

  /** Those that are over may be handed out again: called often, by whoever runs the head, when nothing of it is on the stack. */
  recycle(): void {
    // To set the length of a list is a call of the runtime.
    if (this.#over.length === 0) return;
    for (const operation of this.#over) this.#spare.push(reset(operation));
    this.#over.length = 0;
  }

  /** Larger than all before it, and of a free place in the table. */
  #freshId(): number {
    if (this.#active.length * 2 >= this.#table.length) this.#enlarge();
    while (this.#table[this.#nextId % this.#table.length] !== undefined) this.#nextId++;
    return this.#nextId++;
  }

  #enlarge(): void {
    const table = Array.from<Operation | undefined>({ length: this.#table.length * 2 });
    for (const operation of this.#active) table[operation.id % table.length] = operation;
    this.#table = table;
  }
}

function isOrderedChange({ isOrdered, kind }: Operation): boolean {
  return isOrdered && kind !== 'read';
}

/** Whether of two ordered ones the later must wait for the earlier. */
function conflict(a: Operation, b: Operation): boolean {
  if (!a.isOrdered || !b.isOrdered || (a.kind === 'read' && b.kind === 'read')) return false;
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
