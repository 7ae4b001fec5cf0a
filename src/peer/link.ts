/**
 * A head's member on another engine: sends its requests over a data connection, and gives back the answers. What
 * {@link import('../replication/members.ts').MembersHost} promises of a connection holds here.
 *
 * Bytes of a change are copied as they are sent: their owner may have them back before they arrive. Bytes that a read brings go where it
 * wants them only while its session is the newest and its connection is there; after either, nothing is written there any more.
 */

import type { SocketAddress } from '../env/tcp-address.ts';
import { assert } from '../lib/assert.ts';
import { ECONNREFUSED } from '../model/errno.ts';
import { Answer, Request, isChange } from '../replication/messages.ts';
import type { ReplicaId } from '../replication/record.ts';
import {
  ALIKE_BYTES,
  ANSWER,
  getAlike,
  getAnswer,
  isDropped,
  isShared,
  slotOfAnswer,
} from './answer-frame.ts';
import type { PeerConnection, PeerHandler } from './connection.ts';
import { HEADER_BYTES, HELLO, KIND_AT, WELCOME, startFrame } from './frame.ts';
import type { Guards } from './keys.ts';
import { type Prelude, formatHello, formatPrelude } from './prelude.ts';
import { formatRecord } from './record-json.ts';
import {
  RECORD_BYTES_MAX,
  hasData,
  kindOfNumber,
  numberOfKind,
  putRequest,
} from './request-frame.ts';
import { FreeSlots, SLOT_COUNT, SMALL_BYTES } from './slot-memory.ts';
import type { PeerTransport } from './transport.ts';
import type { EndCode, Violation } from './violation.ts';

/** A connection that is not there by then is not made. */
const CONNECT_MS = 1000;
/** Of requests that wait for a slot: what a frontend's clients may have under way. */
const WAITING_BYTES_MAX: number = 32 * 1024 * 1024;
const REQUEST_COST_BYTES = 256;

const FREE = 0;
const ASKED = 1;
/** The answer came before we were told that the socket took the request. */
const ANSWERED = 2;

/** Where a replica is, and the right to connect to it once. */
export type Dialled = Prelude & { readonly to: SocketAddress; readonly guards: Guards };

/** No process is there, or it was not reached. */
export type NotDialled = 'refused' | 'silent';

export type PeerLinkHost = {
  /** Asks the replica's engine for a ticket. `onDone` comes at any later time, and is dropped where nobody waits any more. */
  dial(replica: ReplicaId, onDone: (result: Dialled | NotDialled) => void): void;
  onConnected(): void;
  /** No connection could be made, or the one there was is gone. `refused`: no process is there. */
  onUnreachable(refused: boolean, code: EndCode | undefined): void;
  /** The answer is reused after the call. */
  onAnswer(answer: Answer): void;
};

export class PeerLink {
  readonly replica: ReplicaId;
  readonly #transport: PeerTransport;
  readonly #host: PeerLinkHost;
  #attempt = 0;
  #startedUs = 0;
  #isConnecting = false;
  /** A socket is being connected, for whichever attempt: not two at once, as a machine that is gone keeps each for minutes. */
  #hasSocket = false;
  #line: Line | undefined;

  constructor(replica: ReplicaId, transport: PeerTransport, host: PeerLinkHost) {
    this.replica = replica;
    this.#transport = transport;
    this.#host = host;
  }

  /** Connects anew: an earlier connection is closed. Ends in `onConnected` or `onUnreachable`, not inside the call. */
  connect(): void {
    this.close();
    this.#isConnecting = true;
    this.#startedUs = this.#transport.io.nowUs();
    const attempt = this.#attempt;
    this.#host.dial(this.replica, (result) => this.#onDialled(attempt, result));
  }

  /** Sends over the connection; without effect where there is none. The request is reused after the call, and its bytes are copied. */
  send(request: Request): void {
    this.#line?.send(request);
  }

  /** Ends the connection, or the try to make one: nothing more is told of it. */
  close(): void {
    this.#attempt += 1;
    this.#isConnecting = false;
    const line = this.#line;
    this.#line = undefined;
    line?.close();
  }

  /** Time has passed: called a few times a second. */
  tick(): void {
    const elapsedMs = (this.#transport.io.nowUs() - this.#startedUs) / 1000;
    if (this.#isConnecting && elapsedMs > CONNECT_MS) this.#fail(false, 'PEER_SILENT');
    this.#line?.tick();
  }

  #onDialled(attempt: number, result: Dialled | NotDialled): void {
    const isLate = attempt !== this.#attempt;
    if (isLate || typeof result === 'string' || this.#hasSocket) {
      if (typeof result !== 'string') forget(result.guards);
      if (!isLate) this.#fail(result === 'refused', undefined);
      return;
    }
    this.#hasSocket = true;
    this.#transport.connect(result.to, (fd) => {
      this.#hasSocket = false;
      if (fd >= 0 && attempt === this.#attempt) {
        this.#greet(fd, result);
        return;
      }
      forget(result.guards);
      if (fd >= 0) this.#transport.closeSocket(fd);
      else if (attempt === this.#attempt) this.#fail(fd === -ECONNREFUSED, 'PEER_RESET');
    });
  }

  #greet(fd: number, dialled: Dialled): void {
    const line = new Line(this.replica, this.#transport, {
      onConnected: () => {
        this.#isConnecting = false;
        this.#host.onConnected();
      },
      onUnreachable: (_refused, code) => {
        if (this.#line === line) this.#fail(false, code);
      },
      onAnswer: (answer) => this.#host.onAnswer(answer),
    });
    this.#line = line;
    const connection = this.#transport.adopt(fd, line);
    if (connection === undefined) {
      forget(dialled.guards);
      this.#fail(false, 'PEER_FULL');
      return;
    }
    line.connection = connection;
    const body = formatHello(this.replica, dialled.ticket);
    connection.greet(formatPrelude(dialled), dialled.guards, { kind: HELLO, body });
  }

  #fail(refused: boolean, code: EndCode | undefined): void {
    this.close();
    this.#host.onUnreachable(refused, code);
  }
}

function forget({ send, receive }: Guards): void {
  send.close();
  receive.close();
}

type Waiting = { readonly request: Request; readonly data: Uint8Array | undefined };

/** One connection of a link. */
class Line implements PeerHandler {
  connection: PeerConnection | undefined;
  readonly #replica: ReplicaId;
  readonly #transport: PeerTransport;
  readonly #host: Omit<PeerLinkHost, 'dial'>;
  readonly #answer = new Answer();
  readonly #free = new FreeSlots();
  #isWelcome = false;
  #isClosed = false;
  /** Those that found no slot, oldest first. */
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** Too much waits: nothing more is sent. */
  #isFull = false;
  // By slot:
  readonly #state = new Uint8Array(SLOT_COUNT);
  readonly #isSent = new Uint8Array(SLOT_COUNT);
  readonly #kind = new Uint8Array(SLOT_COUNT);
  readonly #token = new Float64Array(SLOT_COUNT);
  /** Where a read wants its bytes; 0: nowhere any more. */
  readonly #address = new Uint32Array(SLOT_COUNT);
  readonly #lengthBytes = new Uint32Array(SLOT_COUNT);

  constructor(replica: ReplicaId, transport: PeerTransport, host: Omit<PeerLinkHost, 'dial'>) {
    this.#replica = replica;
    this.#transport = transport;
    this.#host = host;
  }

  send(request: Request): void {
    if (!this.#isWelcome || this.#isClosed || this.#isFull) return;
    if (request.kind === 'open') this.#forgetReads();
    const slot = this.#waiting.length > 0 ? undefined : this.#slotFor(request);
    if (slot === undefined) this.#wait(request);
    else this.#put(slot, request, undefined);
  }

  close(): void {
    this.#isClosed = true;
    this.#forgetReads();
    this.#waiting.length = 0;
    this.connection?.end('PEER_CLOSING');
  }

  /** Ends a connection that is full here: the head does not hear of it inside of the `send` that filled it. */
  tick(): void {
    if (this.#isFull) this.connection?.end('PEER_FULL');
  }

  /** Only of what is accepted. */
  onPrelude(): undefined {}

  onFrame(address: number, bodyBytes: number): 'taken' | Violation {
    const { arena } = this.#transport;
    const kind = arena.u8[address + KIND_AT]!;
    if (!this.#isWelcome) {
      if (kind !== WELCOME || bodyBytes !== 0) return 'PEER_KIND';
      this.#isWelcome = true;
      this.#host.onConnected();
      return 'taken';
    }
    const slot = slotOfAnswer(arena, address);
    if (kind < ANSWER) return 'PEER_KIND';
    if (slot >= SLOT_COUNT || this.#state[slot] !== ASKED || this.#kind[slot] !== kind - ANSWER) {
      return 'PEER_SLOT';
    }
    if (isDropped(arena, address)) this.#answered(slot);
    else {
      const violation = this.#take(slot, address, bodyBytes);
      if (violation !== undefined) return violation;
    }
    this.#sendWaiting();
    return 'taken';
  }

  #take(slot: number, address: number, bodyBytes: number): Violation | undefined {
    const answer = this.#answer;
    const { arena } = this.#transport;
    const violation = getAnswer(arena, address, bodyBytes, answer);
    if (violation !== undefined) return violation;
    const to = this.#address[slot]!;
    if (answer.kind === 'read') {
      if (bodyBytes !== (answer.errno === 0 ? this.#lengthBytes[slot] : 0)) return 'PEER_FIELD';
      const at = address + HEADER_BYTES;
      if (to !== 0) arena.u8.copyWithin(to, at, at + bodyBytes);
    }
    answer.replica = this.#replica;
    this.#tell(slot, answer);
    return isShared(answer)
      ? this.#takeAlike(answer, address + HEADER_BYTES, bodyBytes)
      : undefined;
  }

  /** The other changes that were taken, as one frame tells of them. */
  #takeAlike(answer: Answer, body: number, bodyBytes: number): Violation | undefined {
    const { arena } = this.#transport;
    for (let index = 0; index < bodyBytes / ALIKE_BYTES && !this.#isClosed; index += 1) {
      const slot = getAlike(arena, body, index);
      const kind = kindOfNumber(this.#kind[slot] ?? 0);
      if (this.#state[slot] !== ASKED || kind === undefined || !isChange(kind)) return 'PEER_SLOT';
      answer.kind = kind;
      this.#tell(slot, answer);
    }
    return undefined;
  }

  #tell(slot: number, answer: Answer): void {
    answer.token = this.#token[slot]!;
    this.#answered(slot);
    this.#host.onAnswer(answer);
  }

  /** Requests are pushed as they come. */
  onFlush(): void {}

  onSent(slot: number): void {
    this.#isSent[slot] = 1;
    if (this.#state[slot] === ANSWERED) this.#release(slot);
    this.#sendWaiting();
  }

  onEnd(code: EndCode): void {
    this.#isClosed = true;
    this.#forgetReads();
    this.#waiting.length = 0;
    this.#host.onUnreachable(false, code);
  }

  onClosed(): void {
    this.connection?.free();
  }

  /** Their session is over: their memory is somebody else's. */
  #forgetReads(): void {
    this.#address.fill(0);
    for (const { request } of this.#waiting) request.address = 0;
  }

  #answered(slot: number): void {
    if (this.#isSent[slot] === 1) this.#release(slot);
    else this.#state[slot] = ANSWERED;
  }

  #release(slot: number): void {
    this.#state[slot] = FREE;
    this.#free.give(slot);
  }

  #slotFor({ kind, lengthBytes }: Request): number | undefined {
    return this.#free.take(hasData(kind) || kind === 'read' ? lengthBytes : SMALL_BYTES);
  }

  #put(slot: number, request: Request, data: Uint8Array | undefined): void {
    const { arena } = this.#transport;
    const connection = this.connection!;
    const { kind, lengthBytes } = request;
    this.#state[slot] = ASKED;
    this.#isSent[slot] = 0;
    this.#kind[slot] = numberOfKind(kind);
    this.#token[slot] = request.token;
    this.#address[slot] = kind === 'read' ? request.address : 0;
    this.#lengthBytes[slot] = lengthBytes;
    const body = connection.seat.slots.bodyAddress(slot, 0);
    const bodyBytes = this.#putBody(body, request, data);
    const address = body - HEADER_BYTES;
    const frameBytes = startFrame(arena, address, { kind: numberOfKind(kind), bodyBytes });
    putRequest(arena, address, request, slot);
    connection.push(address, frameBytes, slot);
  }

  #putBody(body: number, request: Request, data: Uint8Array | undefined): number {
    const { u8 } = this.#transport.arena;
    const { kind, record, head, address, lengthBytes } = request;
    if (record !== undefined && (kind === 'open' || kind === 'record')) {
      const text = formatRecord({ record, head: kind === 'open' ? head : undefined });
      const room = u8.subarray(body, body + RECORD_BYTES_MAX);
      const { read, written } = new TextEncoder().encodeInto(text, room);
      assert(read === text.length, 'a record fits its message');
      return written;
    }
    if (!hasData(kind)) return 0;
    if (data === undefined) u8.copyWithin(body, address, address + lengthBytes);
    else u8.set(data, body);
    return lengthBytes;
  }

  #wait(request: Request): void {
    const { kind, address, lengthBytes } = request;
    const copy = Object.assign(new Request(), request);
    const data = hasData(kind)
      ? this.#transport.arena.u8.slice(address, address + lengthBytes)
      : undefined;
    this.#waitingBytes += costOf(data);
    this.#waiting.push({ request: copy, data });
    this.#isFull = this.#waitingBytes > WAITING_BYTES_MAX;
  }

  #sendWaiting(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const slot = this.#slotFor(first.request);
      if (slot === undefined) return;
      this.#waiting.shift();
      this.#waitingBytes -= costOf(first.data);
      this.#put(slot, first.request, first.data);
    }
  }
}

function costOf(data: Uint8Array | undefined): number {
  return REQUEST_COST_BYTES + (data?.length ?? 0);
}
