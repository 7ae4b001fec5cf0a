/**
 * The accepting end: gives the replicas of an engine what heads ask over data connections, and takes their answers back. It is the part of a
 * {@link import('../replication/replica.ts').ReplicaHost} that answers.
 *
 * A request's body is copied to its slot, which is the replica's until it answers or drops the request, also when the connection is gone.
 */

import type { Port } from '../env/io.ts';
import { type Answer, Request } from '../replication/messages.ts';
import type { ReplicaId } from '../replication/record.ts';
import type { Replica } from '../replication/replica.ts';
import {
  ALIKE_BYTES,
  ANSWER,
  isShared,
  numberOfAnswer,
  putAlike,
  putAnswer,
  putAnswerBody,
  putDropped,
} from './answer-frame.ts';
import { PRELUDE_BYTES, type PeerConnection, type PeerHandler } from './connection.ts';
import { HEADER_BYTES, HELLO, KIND_AT, WELCOME, endFrame, startFrame } from './frame.ts';
import type { Guards } from './keys.ts';
import { formatHello, parsePrelude } from './prelude.ts';
import { getRequest, hasData, numberOfKind } from './request-frame.ts';
import { SLOT_COUNT, type SlotMemory, slotBytes } from './slot-memory.ts';
import type { PeerTransport } from './transport.ts';
import type { EndCode, Violation } from './violation.ts';

/** Nothing came for so long: a head that lives renews each 250 ms. */
const SILENT_MS = 10_000;
const HELLO_MS = 1000;
/** Connections that did not say yet what they want: whoever reaches the port could hold as many. */
const STRANGERS_MAX = 16;
/** Between two tries to accept where descriptors have run out. */
const ACCEPT_RETRY_MS = 100;

/** Of one replica, with those that are over and whose requests its drive still has: a drive that hangs keeps no other replica's seats. */
const CONNECTIONS_PER_REPLICA_MAX = 8;

const NONE = -1;

const FREE = 0;
/** The replica has it. */
const WORKING = 1;
/** Its answer is on its way to the socket. */
const SENDING = 2;

/** What a ticket was given for. */
export type Admission = { readonly replica: ReplicaId; readonly guards: Guards };

export type PeerServerHost = {
  /** Takes a ticket, once. Undefined: it is unknown, used, too old, or `proof` is not its own. Both are copies. */
  admit(ticket: Uint8Array, proof: Uint8Array): Admission | undefined;
  /** A connection was accepted: {@link PeerServer.tick} is called from now on. */
  onConnection(): void;
  /** A connection ended, for the log. */
  onEnd(replica: ReplicaId | undefined, code: EndCode): void;
};

export class PeerServer {
  readonly #transport: PeerTransport;
  readonly #host: PeerServerHost;
  readonly #acceptPort: Port;
  readonly #timerPort: Port;
  readonly #replicas = new Map<ReplicaId, Replica>();
  readonly #served = new Map<number, Served>();
  #nextConnection = 1;
  #listener: number | undefined;

  constructor(transport: PeerTransport, host: PeerServerHost) {
    this.#transport = transport;
    this.#host = host;
    this.#acceptPort = transport.io.port((_index, result) => this.#onAccept(result));
    this.#timerPort = transport.io.port(() => this.#accept());
  }

  /** Accepts at `listener`, one of {@link import('../env/env.ts').Files.listenTcp}, until {@link close}. */
  listen(listener: number): void {
    this.#listener = listener;
    this.#accept();
  }

  /** Ends what there is, and accepts no more. */
  close(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener !== undefined) this.#transport.closeSocket(listener);
    for (const served of this.#served.values()) served.connection?.end('PEER_CLOSING');
  }

  /** There is no connection, and so no need of {@link tick}. */
  get isIdle(): boolean {
    return this.#served.size === 0;
  }

  /** Whether a replica is served. */
  has(id: ReplicaId): boolean {
    return this.#replicas.has(id);
  }

  /** Serves a replica, whose host calls {@link answer} and {@link dropped}. */
  add(replica: Replica): void {
    this.#replicas.set(replica.id, replica);
  }

  /** The replica is about to be closed: heads lose it. What they asked for keeps its memory until it is answered, or {@link remove}. */
  end(id: ReplicaId): void {
    this.#replicas.delete(id);
    for (const { replica, connection } of this.#served.values()) {
      if (replica?.id === id) connection?.end('PEER_CLOSING');
    }
  }

  /** The replica, which was ended, is closed: its content has done all that it was asked for, and touches no memory any more. */
  remove(id: ReplicaId): void {
    for (const served of this.#served.values()) {
      if (served.replica?.id === id) served.abandon();
    }
  }

  /** See {@link import('../replication/replica.ts').ReplicaHost}. */
  answer(connection: number, answer: Answer): void {
    this.#served.get(connection)?.answer(answer);
  }

  /** See {@link import('../replication/replica.ts').ReplicaHost}. */
  dropped(connection: number, token: number): void {
    this.#served.get(connection)?.drop(token);
  }

  /** Time has passed: called a few times a second. */
  tick(): void {
    for (const { connection, replica } of this.#served.values()) {
      if (connection === undefined) continue;
      const isLate = replica === undefined && connection.ageMs > HELLO_MS;
      if (isLate || connection.silentMs > SILENT_MS) connection.end('PEER_SILENT');
    }
  }

  #countOf(replica: Replica | undefined): number {
    let count = 0;
    for (const served of this.#served.values()) if (served.replica === replica) count += 1;
    return count;
  }

  #accept(): void {
    if (this.#listener === undefined) return;
    this.#transport.io.accept(this.#acceptPort, 0, this.#listener);
  }

  #onAccept(result: number): void {
    if (result < 0) {
      if (this.#listener !== undefined) {
        this.#transport.io.timer(this.#timerPort, 0, ACCEPT_RETRY_MS);
      }
      return;
    }
    if (this.#countOf(undefined) >= STRANGERS_MAX) {
      this.#transport.closeSocket(result);
      this.#accept();
      return;
    }
    const id = this.#nextConnection++;
    const served = new Served(id, this.#transport, {
      admit: (ticket, proof) => this.#host.admit(ticket, proof),
      replica: (replica) => this.#replicas.get(replica),
      isCrowded: (replica) => this.#countOf(replica) >= CONNECTIONS_PER_REPLICA_MAX,
      onEnd: (replica, code) => this.#host.onEnd(replica, code),
      onGone: () => this.#served.delete(id),
    });
    const connection = this.#transport.adopt(result, served);
    if (connection !== undefined) {
      this.#served.set(id, served);
      served.connection = connection;
      connection.resume();
      this.#host.onConnection();
    } else this.#host.onEnd(undefined, 'PEER_FULL');
    this.#accept();
  }
}

type ServedHost = {
  isCrowded(replica: Replica): boolean;
  admit(ticket: Uint8Array, proof: Uint8Array): Admission | undefined;
  replica(id: ReplicaId): Replica | undefined;
  onEnd(replica: ReplicaId | undefined, code: EndCode): void;
  onGone(): void;
};

/** One connection of a head. */
class Served implements PeerHandler {
  connection: PeerConnection | undefined;
  replica: Replica | undefined;
  readonly #id: number;
  readonly #transport: PeerTransport;
  readonly #host: ServedHost;
  readonly #request = new Request();
  #admitted: ReplicaId | undefined;
  #ticket: Uint8Array | undefined;
  #isClosed = false;
  #workingCount = 0;
  readonly #state = new Uint8Array(SLOT_COUNT);
  /** Of the slot's request: its number, what it is about, and what a read is to bring. */
  readonly #kind = new Uint8Array(SLOT_COUNT);
  readonly #offsetBytes = new Float64Array(SLOT_COUNT);
  readonly #lengthBytes = new Uint32Array(SLOT_COUNT);
  /** Changes of this turn that were taken, which one frame tells of: it lies in the slot of the first; NONE: there are none. */
  #takenSlot = NONE;
  #takenSession = 0;
  /** Those after the first. */
  #alikeCount = 0;

  constructor(id: number, transport: PeerTransport, host: ServedHost) {
    this.#id = id;
    this.#transport = transport;
    this.#host = host;
  }

  onPrelude(address: number): Guards | undefined {
    const prelude = parsePrelude(this.#transport.arena.u8.slice(address, address + PRELUDE_BYTES));
    const admission = prelude && this.#host.admit(prelude.ticket, prelude.proof);
    if (admission === undefined) return undefined;
    this.#admitted = admission.replica;
    this.#ticket = prelude?.ticket;
    return admission.guards;
  }

  onFrame(address: number, bodyBytes: number): 'taken' | 'wait' | Violation {
    if (this.replica === undefined) return this.#hello(address, bodyBytes);
    const request = this.#request;
    const violation = getRequest(this.#transport.arena, address, bodyBytes, request);
    if (violation !== undefined) return violation;
    const slot = request.token;
    if (slot >= SLOT_COUNT) return 'PEER_SLOT';
    const state = this.#state[slot]!;
    // The head has the answer already, and we are yet to hear that the socket took it.
    if (state === SENDING) return 'wait';
    if (state !== FREE) return 'PEER_SLOT';
    const readBytes = request.kind === 'read' ? request.lengthBytes : 0;
    if (Math.max(bodyBytes, readBytes) > slotBytes(slot)) return 'PEER_FIELD';
    this.#take(slot, request, address + HEADER_BYTES);
    return 'taken';
  }

  #hello(address: number, bodyBytes: number): 'taken' | Violation {
    const { u8 } = this.#transport.arena;
    if (u8[address + KIND_AT] !== HELLO) return 'PEER_KIND';
    const at = address + HEADER_BYTES;
    const text = new TextDecoder().decode(u8.subarray(at, at + bodyBytes));
    const replica = this.#admitted;
    const ticket = this.#ticket;
    const isOurs =
      replica !== undefined && ticket !== undefined && text === formatHello(replica, ticket);
    if (!isOurs) return 'PEER_HELLO';
    const found = this.#host.replica(replica);
    if (found === undefined) this.connection?.end('PEER_CLOSING');
    else if (this.#host.isCrowded(found)) this.connection?.end('PEER_FULL');
    else {
      this.replica = found;
      this.connection?.pushControl(WELCOME, '');
    }
    return 'taken';
  }

  #take(slot: number, request: Request, bodyAt: number): void {
    const { u8 } = this.#transport.arena;
    const { offsetBytes, lengthBytes } = request;
    this.#kind[slot] = numberOfKind(request.kind);
    this.#state[slot] = WORKING;
    this.#workingCount += 1;
    this.#offsetBytes[slot] = offsetBytes;
    this.#lengthBytes[slot] = request.kind === 'read' ? lengthBytes : 0;
    request.address = this.#slots.bodyAddress(slot, offsetBytes);
    if (hasData(request.kind)) u8.copyWithin(request.address, bodyAt, bodyAt + lengthBytes);
    this.replica?.receive(this.#id, request);
  }

  answer(answer: Answer): void {
    const slot = answer.token;
    if (!this.#isAnswered(slot)) return;
    const { arena } = this.#transport;
    const isTaken = isShared(answer);
    if (isTaken && this.#takenSlot !== NONE && this.#takenSession === answer.session) {
      putAlike(arena, this.#bodyOf(this.#takenSlot), this.#alikeCount, slot);
      this.#alikeCount += 1;
      // Its own memory is not sent.
      this.#state[slot] = FREE;
      return;
    }
    this.onFlush();
    const body = this.#bodyOf(slot);
    const dataBytes = answer.errno === 0 ? this.#lengthBytes[slot]! : 0;
    const bodyBytes =
      answer.kind === 'read' ? dataBytes : putAnswerBody(arena, body, answer, slotBytes(slot));
    const address = body - HEADER_BYTES;
    const frameBytes = startFrame(arena, address, { kind: numberOfAnswer(answer), bodyBytes });
    putAnswer(arena, address, answer);
    if (!isTaken) {
      this.connection?.push(address, frameBytes, slot);
      return;
    }
    this.#takenSlot = slot;
    this.#takenSession = answer.session;
    this.connection?.flushSoon();
  }

  /** Tells of the changes that were taken. */
  onFlush(): void {
    const slot = this.#takenSlot;
    if (slot === NONE) return;
    const address = this.#bodyOf(slot) - HEADER_BYTES;
    const bodyBytes = this.#alikeCount * ALIKE_BYTES;
    const frameBytes = endFrame(this.#transport.arena, address, bodyBytes);
    this.#takenSlot = NONE;
    this.#alikeCount = 0;
    this.connection?.push(address, frameBytes, slot);
  }

  #bodyOf(slot: number): number {
    return this.#slots.bodyAddress(slot, this.#offsetBytes[slot]!);
  }

  /** Tells the head, so that the slot is free at both ends. */
  drop(slot: number): void {
    if (!this.#isAnswered(slot)) return;
    this.onFlush();
    const kind = ANSWER + this.#kind[slot]!;
    const address = this.#slots.frameAddress(slot, 0);
    const { arena } = this.#transport;
    const frameBytes = startFrame(arena, address, { kind, bodyBytes: 0 });
    putDropped(arena, address, slot);
    this.connection?.push(address, frameBytes, slot);
  }

  /** The replica is gone, and with it all that it had. */
  abandon(): void {
    for (const [slot, state] of this.#state.entries()) {
      if (state === WORKING) this.#state[slot] = FREE;
    }
    this.#workingCount = 0;
    this.connection?.end('PEER_CLOSING');
    this.#freeIfIdle();
  }

  onSent(slot: number): void {
    this.#state[slot] = FREE;
    this.connection?.resume();
  }

  onEnd(code: EndCode): void {
    this.#host.onEnd(this.#admitted, code);
  }

  onClosed(): void {
    this.#isClosed = true;
    this.#freeIfIdle();
  }

  /** The replica has done with the slot. False: there is nobody to tell. */
  #isAnswered(slot: number): boolean {
    if (this.#state[slot] !== WORKING) return false;
    this.#workingCount -= 1;
    const isOver = this.connection?.isOver ?? true;
    this.#state[slot] = isOver ? FREE : SENDING;
    if (isOver) this.#freeIfIdle();
    return !isOver;
  }

  #freeIfIdle(): void {
    if (!this.#isClosed || this.#workingCount > 0) return;
    this.#isClosed = false;
    this.#host.onGone();
    this.connection?.free();
  }

  get #slots(): SlotMemory {
    return this.connection!.seat.slots;
  }
}
