/**
 * One data connection, of either end: bytes of the socket to frames and back. What frames mean is its handler's matter.
 * Nothing is allocated for a frame. A handler that does not take a frame stops the receiving until {@link PeerConnection.resume}.
 */

import type { Io, Port } from '../env/io.ts';
import type { Arena } from '../lib/arena.ts';
import { assert } from '../lib/assert.ts';
import { EAGAIN } from '../model/errno.ts';
import { FrameReader, READER_BYTES } from './frame-reader.ts';
import { BYE, HEADER_BYTES, KIND_AT, REKEY, startFrame } from './frame.ts';
import type { Guards } from './keys.ts';
import { SendQueue } from './send-queue.ts';
import { SLOT_MEMORY_BYTES, SlotMemory } from './slot-memory.ts';
import { type EndCode, type Violation, isEndCode } from './violation.ts';

/** Version, ticket and its proof, in clear before the first frame. */
export const PRELUDE_BYTES = 40;
/** Of a frame of the connection itself: hello names a replica and a ticket. */
const CONTROL_BYTES = 1024;
/** In place of a slot: a frame of the connection itself. */
export const NO_SLOT = -1;
/** What a connection takes from the arena, alignment included. */
export const CONNECTION_BYTES: number =
  READER_BYTES + 3 * CONTROL_BYTES + SLOT_MEMORY_BYTES + 3 * 4096;

export type PeerHandler = {
  /** The first bytes of an accepted connection, {@link PRELUDE_BYTES} at `address`. Undefined: it ends, without a word. */
  onPrelude(address: number): Guards | undefined;
  /** A verified frame, which is the handler's until it returns. `wait`: not now. */
  onFrame(address: number, bodyBytes: number): 'taken' | 'wait' | Violation;
  /** What there is to send is sent after it: see {@link PeerConnection.flushSoon}. */
  onFlush(): void;
  /** The socket took the frame of `slot`: its memory is free of the connection. */
  onSent(slot: number): void;
  /** It is over; nothing else is told but {@link PeerHandler.onClosed}. */
  onEnd(code: EndCode): void;
  /** No operation names its memory any more: the handler calls {@link PeerConnection.free} when it does not either. */
  onClosed(): void;
};

/** Memory for one connection at a time. */
export class Seat {
  readonly index: number;
  readonly readerAddress: number;
  readonly controlAddress: number;
  readonly slots: SlotMemory;

  constructor(arena: Arena, index: number) {
    this.index = index;
    this.readerAddress = arena.reserve(READER_BYTES, 4096);
    this.controlAddress = arena.reserve(3 * CONTROL_BYTES, 4096);
    this.slots = new SlotMemory(arena);
  }
}

/** What all connections of an engine share. */
export type Wire = {
  readonly io: Io;
  readonly arena: Arena;
  readonly receivePort: Port;
  readonly sendPort: Port;
  readonly closePort: Port;
  /** There is something to send at the end of the turn. */
  onDirty(connection: PeerConnection): void;
  onFree(seat: Seat): void;
};

/** Made by {@link import('./transport.ts').PeerTransport.adopt}; the handler is told of everything. */
export class PeerConnection {
  readonly seat: Seat;
  readonly #fd: number;
  readonly #wire: Wire;
  readonly #handler: PeerHandler;
  readonly #reader: FrameReader;
  readonly #queue = new SendQueue();
  #guards: Guards | undefined;
  #receiving = false;
  #sending = false;
  #advancing = false;
  #isDirty = false;
  #code: EndCode | undefined;
  readonly #madeUs: number;
  #heardUs: number;

  constructor(wire: Wire, seat: Seat, fd: number, handler: PeerHandler) {
    this.#wire = wire;
    this.seat = seat;
    this.#fd = fd;
    this.#handler = handler;
    this.#reader = new FrameReader(wire.arena, seat.readerAddress);
    this.#madeUs = wire.io.nowUs();
    this.#heardUs = this.#madeUs;
  }

  get isOver(): boolean {
    return this.#code !== undefined;
  }

  get ageMs(): number {
    return (this.#wire.io.nowUs() - this.#madeUs) / 1000;
  }

  /** Since something came, ms. */
  get silentMs(): number {
    return (this.#wire.io.nowUs() - this.#heardUs) / 1000;
  }

  /** Dials: sends the prelude and then `hello`. The bytes are copied. */
  greet(prelude: Uint8Array, guards: Guards, hello: { kind: number; body: string }): void {
    const { u8 } = this.#wire.arena;
    u8.set(prelude, this.seat.controlAddress);
    this.#queue.push(this.seat.controlAddress, prelude.length, NO_SLOT);
    this.#guard(guards);
    this.pushControl(hello.kind, hello.body);
    this.resume();
  }

  /** Receives, for the first time or again. */
  resume(): void {
    if (this.#advancing || this.#receiving || this.isOver) return;
    this.#advance();
  }

  /** Sends a frame that was begun at `address`, behind those before it. Its memory is the connection's until {@link PeerHandler.onSent}. */
  push(address: number, frameBytes: number, slot: number): void {
    const guards = this.#guards;
    assert(guards !== undefined, 'frames follow the prelude');
    if (this.isOver) return;
    if (guards.send.isSpent) {
      const at = this.seat.controlAddress + 2 * CONTROL_BYTES;
      const rekeyBytes = startFrame(this.#wire.arena, at, { kind: REKEY, bodyBytes: 0 });
      guards.send.protect(at, rekeyBytes);
      guards.send.renew();
      this.#queue.push(at, rekeyBytes, NO_SLOT);
    }
    guards.send.protect(address, frameBytes);
    this.#queue.push(address, frameBytes, slot);
    this.flushSoon();
  }

  /** Sends what there is at the end of the turn, or once the socket takes more: {@link PeerHandler.onFlush} comes before it. */
  flushSoon(): void {
    if (this.#isDirty || this.#sending) return;
    this.#isDirty = true;
    this.#wire.onDirty(this);
  }

  /** Sends `hello` or `welcome`: one of them, once. */
  pushControl(kind: number, body: string): void {
    const at = this.seat.controlAddress + PRELUDE_BYTES;
    this.push(at, this.#control(at, kind, body), NO_SLOT);
  }

  /** Sends what there is. */
  flush(): void {
    this.#handler.onFlush();
    this.#isDirty = false;
    while (!this.#sending && !this.isOver && !this.#queue.isEmpty) {
      const { io, sendPort } = this.#wire;
      const count = this.#queue.gather();
      const sent = io.trySend(this.#fd, this.#queue.segments, 0, count);
      if (sent === -EAGAIN) {
        this.#sending = true;
        io.send(sendPort, this.seat.index, this.#fd, this.#queue.segments, 0, count);
      } else if (sent < 0) this.end('PEER_RESET');
      else this.#consume(sent);
    }
  }

  /** Ends it: with a word, if the socket takes it at once. */
  end(code: EndCode): void {
    this.#end(code, true);
  }

  /** The memory may be another connection's. */
  free(): void {
    this.#wire.onFree(this.seat);
  }

  onReceive(result: number): void {
    this.#receiving = false;
    if (this.isOver) return;
    if (result <= 0) {
      this.#end(result === 0 ? 'PEER_CLOSING' : 'PEER_RESET', false);
      return;
    }
    this.#heardUs = this.#wire.io.nowUs();
    this.#reader.received(result);
    this.#advance();
  }

  onSend(result: number): void {
    this.#sending = false;
    if (this.isOver) return;
    if (result < 0) {
      this.#end('PEER_RESET', false);
      return;
    }
    this.#consume(result);
    this.flush();
  }

  onClose(): void {
    this.#guards?.send.close();
    this.#guards?.receive.close();
    this.#handler.onClosed();
  }

  #advance(): void {
    this.#advancing = true;
    const goesOn = this.#takeFrames();
    this.#advancing = false;
    if (!goesOn || this.isOver) return;
    const { io, receivePort } = this.#wire;
    const address = this.#reader.makeRoom();
    this.#receiving = true;
    io.receive(receivePort, this.seat.index, this.#fd, address, this.#reader.roomBytes);
  }

  /** Hands out what was received; whether there is to be more. */
  #takeFrames(): boolean {
    if (this.#guards === undefined && !this.#takePrelude()) return !this.isOver;
    for (;;) {
      const found = this.#reader.next();
      if (found === 'more') return true;
      const taken = found === 'frame' ? this.#takeFrame() : found;
      if (this.isOver || taken === 'wait') return false;
      if (taken !== 'taken') {
        this.end(taken);
        return false;
      }
      this.#reader.skip();
    }
  }

  #takeFrame(): 'taken' | 'wait' | Violation {
    const { address, bodyBytes } = this.#reader;
    if (this.#wire.arena.u8[address + KIND_AT] !== BYE) {
      return this.#handler.onFrame(address, bodyBytes);
    }
    this.#end(codeOf(this.#text(address + HEADER_BYTES, bodyBytes)), false);
    return 'taken';
  }

  /** False: it is not there yet, or not right. */
  #takePrelude(): boolean {
    if (this.#reader.heldBytes < PRELUDE_BYTES) return false;
    const guards = this.#handler.onPrelude(this.#reader.address);
    if (guards === undefined) {
      this.#end('PEER_HELLO', false);
      return false;
    }
    this.#reader.skipBytes(PRELUDE_BYTES);
    this.#guard(guards);
    return true;
  }

  #guard(guards: Guards): void {
    this.#guards = guards;
    this.#reader.guard(guards.receive);
  }

  #consume(sentBytes: number): void {
    const { sent } = this.#queue;
    const count = this.#queue.consume(sentBytes);
    for (let index = 0; index < count; index += 1) {
      const slot = sent[index]!;
      if (slot !== NO_SLOT) this.#handler.onSent(slot);
    }
  }

  #end(code: EndCode, isTold: boolean): void {
    if (this.isOver) return;
    this.#code = code;
    const { io, closePort } = this.#wire;
    const send = this.#guards?.send;
    if (isTold && send !== undefined && this.#queue.isEmpty && !this.#sending) {
      const at = this.seat.controlAddress + CONTROL_BYTES;
      const frameBytes = this.#control(at, BYE, JSON.stringify({ code }));
      send.protect(at, frameBytes);
      io.trySend(this.#fd, Uint32Array.of(at, frameBytes), 0, 1);
    }
    io.close(closePort, this.seat.index, this.#fd);
    this.#handler.onEnd(code);
  }

  /** Begins a frame with a text as its body; returns its bytes. */
  #control(address: number, kind: number, body: string): number {
    const { arena } = this.#wire;
    const room = arena.u8.subarray(address + HEADER_BYTES, address + CONTROL_BYTES - PRELUDE_BYTES);
    const { read, written } = new TextEncoder().encodeInto(body, room);
    assert(read === body.length, 'a frame of the connection itself is short');
    return startFrame(arena, address, { kind, bodyBytes: written });
  }

  #text(address: number, bodyBytes: number): string {
    return new TextDecoder().decode(this.#wire.arena.u8.subarray(address, address + bodyBytes));
  }
}

/** Why the other end says that it ends. */
function codeOf(text: string): EndCode {
  try {
    const { code }: { code?: unknown } = JSON.parse(text);
    return isEndCode(code) ? code : 'PEER_CLOSING';
  } catch {
    return 'PEER_CLOSING';
  }
}
