/**
 * What a connection received, as verified frames. Pure: whoever has the socket receives to where {@link FrameReader.makeRoom} says. Memory is one
 * buffer, which holds the largest frame; what is no frame is found at its first 16 bytes, before any of it is waited for.
 */

import type { Arena } from '../lib/arena.ts';
import {
  FRAME_BYTES_MAX,
  HEADER_BYTES,
  KIND_AT,
  REKEY,
  bodyBytesOf,
  frameBytesOf,
} from './frame.ts';
import type { Guard } from './guard.ts';
import type { Violation } from './violation.ts';

/** Received at once where no large frame is under way: some 15 of 4 KiB, and as much as stays in a CPU's cache. */
const BATCH_BYTES = 65_536;
/** What a reader takes from the arena. */
export const READER_BYTES: number = FRAME_BYTES_MAX + BATCH_BYTES;
const CLEAR_BYTES = 16;

export class FrameReader {
  readonly #arena: Arena;
  readonly #bufferAddress: number;
  #guard: Guard | undefined;
  #start: number;
  #end: number;
  /** The frame at the start is verified and not yet skipped. */
  #isVerified = false;
  /** Of the frame that {@link next} found. */
  bodyBytes = 0;

  /** `bufferAddress`: of {@link READER_BYTES} that are the reader's. */
  constructor(arena: Arena, bufferAddress: number) {
    this.#arena = arena;
    this.#bufferAddress = bufferAddress;
    this.#start = bufferAddress;
    this.#end = bufferAddress;
  }

  /** What frames are verified by, from the next one on. */
  guard(guard: Guard): void {
    this.#guard = guard;
  }

  /** Of the frame that {@link next} found, or of bytes that are none. */
  get address(): number {
    return this.#start;
  }

  /** Received and not yet skipped. */
  get heldBytes(): number {
    return this.#end - this.#start;
  }

  /** Returns where the next bytes go: {@link roomBytes} of them, at least 1. Moves what is held: addresses of frames are void. */
  makeRoom(): number {
    const { u8 } = this.#arena;
    const isEmpty = this.#start === this.#end;
    if (isEmpty || this.#start + FRAME_BYTES_MAX > this.#bufferAddress + READER_BYTES) {
      u8.copyWithin(this.#bufferAddress, this.#start, this.#end);
      this.#end = this.#bufferAddress + this.heldBytes;
      this.#start = this.#bufferAddress;
    }
    return this.#end;
  }

  /** After {@link makeRoom}. */
  get roomBytes(): number {
    const wantedBytes = Math.max(BATCH_BYTES, this.#missingBytes());
    return Math.min(wantedBytes, this.#bufferAddress + READER_BYTES - this.#end);
  }

  received(count: number): void {
    this.#end += count;
  }

  /** Passes over bytes that are no frame. */
  skipBytes(count: number): void {
    this.#start += count;
  }

  /** Passes over the frame that {@link next} found. */
  skip(): void {
    this.#isVerified = false;
    this.#start += frameBytesOf(this.bodyBytes);
  }

  /** `frame`: one is whole and verified, the same one until it is skipped. `more`: receive. Anything else ends the connection. */
  next(): 'frame' | 'more' | Violation {
    for (;;) {
      const found = this.#isVerified ? 'frame' : this.#verifyNext();
      if (found !== 'frame' || this.#arena.u8[this.#start + KIND_AT] !== REKEY) return found;
      if (this.bodyBytes !== 0 || this.#guard?.renew() !== true) return 'PEER_KIND';
      this.skip();
    }
  }

  #verifyNext(): 'frame' | 'more' | Violation {
    if (this.heldBytes < CLEAR_BYTES) return 'more';
    this.bodyBytes = bodyBytesOf(this.#arena, this.#start);
    if (this.bodyBytes < 0) return 'PEER_FRAME';
    const frameBytes = frameBytesOf(this.bodyBytes);
    if (this.heldBytes < frameBytes) return 'more';
    const guard = this.#guard;
    if (guard === undefined) return 'PEER_KIND';
    const wasSpent = guard.isSpent;
    if (!guard.verify(this.#start, frameBytes)) return 'PEER_PROOF';
    if (wasSpent && this.#arena.u8[this.#start + KIND_AT] !== REKEY) return 'PEER_KEY';
    this.#isVerified = true;
    return 'frame';
  }

  /** Of the frame that is under way, as far as it is known. */
  #missingBytes(): number {
    if (this.heldBytes < CLEAR_BYTES) return HEADER_BYTES;
    const bodyBytes = bodyBytesOf(this.#arena, this.#start);
    return frameBytesOf(Math.max(bodyBytes, 0)) - this.heldBytes;
  }
}
