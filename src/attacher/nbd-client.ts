/**
 * NBD client of one attached volume on `env.io`. It outlives the engine: what the lost connection left unanswered is
 * sent again, in the order it first came, on the next one. Nothing times out; only {@link NbdClient.giveUp} and an
 * engine that no longer knows the export end it.
 *
 * Invariants:
 *  1. One connection at a time: the next begins after every operation on the last has completed.
 *  2. A request ends in exactly one `onDone(slot, errno)`, never inside the call that made it.
 *  3. The caller's bytes belong to the request until then.
 *  4. ESHUTDOWN is no answer: an engine that stops says it, and the next one gets the request.
 */

import { assert } from '../lib/assert.ts';
import { EIO, EOPNOTSUPP, ESHUTDOWN } from '../model/errno.ts';
import type { Export } from '../wire/nbd-client/nbd-handshake.ts';
import {
  CMD_FLAG_NO_HOLE,
  CMD_FLUSH,
  CMD_READ,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  FLAG_SEND_WRITE_ZEROES,
} from '../wire/nbd/constants.ts';
import type { Berth } from './berths.ts';
import { type ClientState, nextState } from './client-state.ts';
import type { NbdClientOptions } from './nbd-client-options.ts';
import { GREETING_ARENA_BYTES, Greeting, exportProblem } from './greeting.ts';
import { ReplyStream, STREAM_BYTES } from './reply-stream.ts';
import { RequestQueue } from './request-queue.ts';
import { type Data, RequestTable, tableArenaBytes } from './request-table.ts';
import { SendBatch } from './send-batch.ts';

/** An engine that restarts is back within 2 s; a wait of 250 ms adds an eighth to that. */
const BACKOFF_MS_FIRST = 10;
const BACKOFF_MS_MAX = 250;
/** Segments of one send: a header and data for each request. */
const SEND_SEGMENT_COUNT_MAX = 128;

const NO_DATA: Data = { address: 0, lengthBytes: 0 };

const INDEX_CONNECT = 0;
const INDEX_RECEIVE = 1;
const INDEX_SEND = 2;
const INDEX_TIMER = 3;
const INDEX_CLOSE = 4;
/** Completion indexes that a client uses, from the one it is given on. */
export const NBD_INDEX_COUNT = 5;

/** Arena that a client with `slotCount` slots needs. */
export const nbdArenaBytes = (slotCount: number): number =>
  STREAM_BYTES + GREETING_ARENA_BYTES + tableArenaBytes(slotCount);

type Phase =
  | 'waiting'
  | 'connecting'
  | 'greeting'
  | 'serving'
  /** The connection is being closed; another follows. */
  | 'losing'
  /** No connection, none to come. */
  | 'ended';

export class NbdClient {
  /** Connections that reached the transmission phase. */
  connectCount = 0;

  readonly #options: NbdClientOptions;
  readonly #berth: Berth;
  readonly #queue: RequestQueue;
  readonly #stream: ReplyStream;
  readonly #greeting: Greeting;
  readonly #table: RequestTable;

  #phase: Phase = 'waiting';
  #state: ClientState;
  #sizeBytes: number;
  #writeZeroes = true;
  #socket = -1;
  #backoffMs = BACKOFF_MS_FIRST;
  #ending: string | undefined;
  #onEnded: (() => void) | undefined;

  readonly #batch = new SendBatch(SEND_SEGMENT_COUNT_MAX);
  #sending = false;
  /** 1: in the send under way; 2: answered before that was known to have ended, which the answer waits for (invariant 3). */
  readonly #inSend: Uint8Array;
  /** Answers to deliver at the end of the turn or of the send: slot, errno. */
  readonly #early: number[] = [];

  constructor(options: NbdClientOptions) {
    const { slotCount, address, berth } = options;
    this.#options = options;
    this.#berth = berth;
    this.#sizeBytes = options.sizeBytes;
    this.#queue = new RequestQueue(slotCount);
    this.#inSend = new Uint8Array(slotCount);
    const memory = berth.io.memory.buffer;
    this.#table = new RequestTable(memory, {
      address: address + STREAM_BYTES + GREETING_ARENA_BYTES,
      slotCount,
    });
    this.#greeting = new Greeting(memory, address + STREAM_BYTES);
    this.#stream = new ReplyStream({
      memory,
      address,
      expects: (slot) => (this.#isAwaited(slot) ? this.#table.readBytes(slot) : -1),
      destination: (slot) => this.#table.dataAddress(slot),
      onReply: (slot, errno) => this.#onReply(slot, errno),
    });
    this.#state = { kind: 'waiting', problem: 'it was not tried yet', sinceMs: this.#nowMs() };
  }

  get state(): ClientState {
    return this.#state;
  }

  start(): void {
    this.#connect();
  }

  /** Reads `lengthBytes` at `offsetBytes` to `address`. */
  read(slot: number, offsetBytes: number, data: Data): void {
    this.#add(slot, CMD_READ, { flags: 0, offsetBytes, data });
  }

  write(slot: number, offsetBytes: number, data: Data): void {
    this.#add(slot, CMD_WRITE, { flags: 0, offsetBytes, data });
  }

  flush(slot: number): void {
    this.#add(slot, CMD_FLUSH, { flags: 0, offsetBytes: 0, data: NO_DATA });
  }

  /** Makes a range read as zeros; with `keepSpace` its space stays reserved. `lengthBytes` is below 2^32. */
  zero(
    slot: number,
    offsetBytes: number,
    options: { readonly lengthBytes: number; readonly keepSpace: boolean },
  ): void {
    const flags = options.keepSpace ? CMD_FLAG_NO_HOLE : 0;
    const data = { address: 0, lengthBytes: options.lengthBytes };
    this.#add(slot, CMD_WRITE_ZEROES, { flags, offsetBytes, data });
  }

  /** The volume has grown; connections to come must offer that much. */
  resize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
  }

  /** Ends the client: what is unanswered, and all to come, fails with EIO. `onEnded`: nothing is in flight any more. */
  giveUp(problem: string, onEnded: () => void): void {
    this.#ending ??= problem;
    this.#onEnded = onEnded;
    if (this.#phase === 'ended') onEnded();
    else if (this.#phase === 'waiting')
      this.#berth.io.cancelTimer(this.#berth.port, this.#index(INDEX_TIMER));
    else if (this.#phase === 'serving' || this.#phase === 'greeting') this.#lose(problem);
    // Connecting and losing end by themselves, and look at #ending then.
  }

  onCompletion(index: number, result: number): void {
    switch (index) {
      case INDEX_CONNECT:
        this.#onConnect(result);
        return;
      case INDEX_RECEIVE:
        this.#onReceive(result);
        return;
      case INDEX_SEND:
        this.#onSend(result);
        return;
      case INDEX_TIMER:
        this.#connect();
        return;
      case INDEX_CLOSE:
        this.#onClose();
        return;
      default:
        assert(false, 'a client knows its indexes');
    }
  }

  onTurnEnd(): void {
    if (this.#phase === 'ended') this.#failAll();
    if (this.#phase === 'serving' && !this.#sending) this.#sendMore();
  }

  #add(
    slot: number,
    type: number,
    request: { readonly flags: number; readonly offsetBytes: number; readonly data: Data },
  ): void {
    this.#table.set(slot, { type, ...request });
    this.#queue.add(slot);
  }

  #connect(): void {
    if (this.#ending !== undefined) {
      this.#end();
      return;
    }
    this.#phase = 'connecting';
    this.#berth.io.connect(this.#berth.port, this.#index(INDEX_CONNECT), this.#options.socketPath);
  }

  #onConnect(result: number): void {
    if (result < 0) {
      const problem = `nobody listens on its socket (errno ${-result})`;
      this.#setState({ kind: 'waiting', problem, sinceMs: this.#nowMs() });
      this.#pause();
      return;
    }
    this.#socket = result;
    this.#phase = 'greeting';
    this.#greeting.start(this.#options.exportName);
    if (this.#ending === undefined) this.#receiveMore();
    else this.#lose(this.#ending);
  }

  #onHandshake(receivedBytes: number): void {
    const step = this.#greeting.take(receivedBytes);
    switch (step.kind) {
      case 'more':
        if (step.send !== undefined) {
          this.#batch.clear();
          this.#batch.add(this.#greeting.sendAddress, step.send.length);
          this.#submitSend();
        }
        this.#receiveMore();
        return;
      case 'ready':
        this.#onExport(step.export);
        return;
      case 'unknown':
        this.#ending ??= 'the engine no longer serves this attachment';
        this.#lose(this.#ending);
        return;
      case 'failed':
        this.#lose(step.problem);
        return;
    }
  }

  #onExport(offered: Export): void {
    const problem = exportProblem(offered, this.#sizeBytes);
    if (problem !== undefined) {
      this.#lose(problem);
      return;
    }
    this.#writeZeroes = (offered.flags & FLAG_SEND_WRITE_ZEROES) !== 0;
    this.#phase = 'serving';
    this.connectCount += 1;
    this.#stream.reset();
    this.#queue.rewind();
    this.#setState({ kind: 'serving', sinceMs: this.#nowMs() });
    this.#receiveMore();
  }

  /** Sends what waits, as much as one vectored send takes. */
  #sendMore(): void {
    const batch = this.#batch;
    batch.clear();
    while (batch.hasRoom(2)) {
      const slot = this.#queue.send();
      if (slot === undefined) break;
      if (this.#table.isZeroing(slot) && !this.#writeZeroes) {
        this.#answerLater(slot, EOPNOTSUPP);
        continue;
      }
      this.#inSend[slot] = 1;
      this.#table.addTo(batch, slot);
    }
    if (batch.count > 0) this.#submitSend();
    else this.#deliverEarly();
  }

  #submitSend(): void {
    const { io, port } = this.#berth;
    const { segments, first, count } = this.#batch;
    this.#sending = true;
    io.send(port, this.#index(INDEX_SEND), this.#socket, segments, first, count);
  }

  #onSend(result: number): void {
    if (this.#phase !== 'losing' && result >= 0) {
      this.#batch.advance(result);
      if (this.#batch.count > 0) {
        this.#submitSend();
        return;
      }
    }
    this.#sending = false;
    this.#inSend.fill(0);
    this.#deliverEarly();
    if (result < 0) this.#lose(`it took no more (errno ${-result})`);
  }

  #receiveMore(): void {
    const from = this.#phase === 'greeting' ? this.#greeting : this.#stream;
    const { io, port } = this.#berth;
    const index = this.#index(INDEX_RECEIVE);
    io.receive(port, index, this.#socket, from.nextAddress, from.nextBytes);
  }

  #onReceive(result: number): void {
    if (this.#phase === 'losing') return;
    if (result <= 0) {
      this.#lose(result === 0 ? 'it ended the connection' : `receiving failed (errno ${-result})`);
      return;
    }
    if (this.#phase === 'greeting') {
      this.#onHandshake(result);
      return;
    }
    const problem = this.#stream.take(result);
    if (problem !== undefined) this.#lose(problem);
    else if (this.#phase === 'serving') this.#receiveMore();
  }

  #onReply(slot: number, errno: number): void {
    if (errno === ESHUTDOWN) {
      this.#lose('it is shutting down');
      return;
    }
    this.#backoffMs = BACKOFF_MS_FIRST;
    if (this.#inSend[slot] === 1) this.#answerLater(slot, errno);
    else this.#done(slot, errno);
  }

  #answerLater(slot: number, errno: number): void {
    this.#inSend[slot] = 2;
    this.#early.push(slot, errno);
  }

  #isAwaited(slot: number): boolean {
    return this.#queue.isSent(slot) && this.#inSend[slot] !== 2;
  }

  #deliverEarly(): void {
    if (this.#early.length === 0) return;
    const early = this.#early.splice(0);
    for (let i = 0; i < early.length; i += 2) this.#done(early[i]!, early[i + 1]!);
  }

  #done(slot: number, errno: number): void {
    this.#inSend[slot] = 0;
    this.#queue.remove(slot);
    this.#options.onDone(slot, errno);
  }

  /** Closes the connection; `#onClose` goes on from there. */
  #lose(problem: string): void {
    if (this.#phase === 'losing') return;
    this.#phase = 'losing';
    this.#setState({ kind: 'waiting', problem, sinceMs: this.#nowMs() });
    this.#berth.io.close(this.#berth.port, this.#index(INDEX_CLOSE), this.#socket);
  }

  #onClose(): void {
    assert(!this.#sending, 'a close completes after the sends');
    this.#socket = -1;
    this.#deliverEarly();
    this.#queue.rewind();
    if (this.#ending === undefined) this.#pause();
    else this.#end();
  }

  #pause(): void {
    this.#phase = 'waiting';
    this.#berth.io.timer(this.#berth.port, this.#index(INDEX_TIMER), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX);
  }

  #end(): void {
    const problem = this.#ending ?? 'it ended';
    this.#phase = 'ended';
    this.#setState({ kind: 'ended', problem, sinceMs: this.#nowMs() });
    this.#failAll();
    this.#onEnded?.();
  }

  #failAll(): void {
    for (let slot = this.#queue.first(); slot !== undefined; slot = this.#queue.first()) {
      this.#done(slot, EIO);
    }
  }

  #setState(state: ClientState): void {
    this.#state = nextState(this.#state, state);
    if (this.#state === state) this.#options.onState(state);
  }

  #index(index: number): number {
    return this.#berth.firstIndex + this.#options.firstIndex + index;
  }

  #nowMs(): number {
    return this.#berth.io.nowUs() / 1000;
  }
}
