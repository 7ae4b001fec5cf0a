/**
 * Memory for what submission entries point at besides the arena: segment lists, message headers, socket
 * addresses, timeouts. A bump allocator: the kernel copies it all when it consumes the entry (IORING_FEAT_SUBMIT_STABLE,
 * required at set-up), so everything is free again as soon as no entry is pending, and nothing has to live until completion.
 *
 *   segment list (iovec)     address u64, length u64                                  16 bytes each
 *   message header (msghdr)  name u64, name length u32 + pad, iovec u64, iovec count u64,
 *                            control u64, control length u64, flags u32 + pad          56 bytes
 *   timeout (timespec)       seconds i64, nanoseconds i64                              16 bytes
 *   address (sockaddr)       of a unix socket or TCP: see listen.ts and tcp-address.ts, at most 110 bytes
 */

import { assert } from '../../lib/assert.ts';
import { SEGMENT_COUNT_MAX } from '../io.ts';
import type { Mapping } from './syscalls.ts';

const WORD = 4;
const SEGMENT_WORDS = 4;
const MESSAGE_WORDS = 14;
const TIMEOUT_WORDS = 4;
const SOCKET_ADDRESS_WORDS = 28;
/** The largest address: that of a unix socket, with its family and NUL. */
export const SOCKET_ADDRESS_BYTES = 110;
const WORD_RANGE = 2 ** 32;
const NS_PER_MS = 1e6;
const MS_PER_SECOND = 1000;

/** The largest single request: a full segment list with its message header. */
const TAKE_WORDS_MAX = SEGMENT_COUNT_MAX * SEGMENT_WORDS + MESSAGE_WORDS;
/** Room for at least one largest request, or some 15 of them. */
export const SCRATCH_BYTES = 65_536;

export class Scratch {
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #base: number;
  readonly #arenaBase: number;
  readonly #arenaBytes: number;
  #used = 0;

  constructor(mapping: Mapping, arena: { readonly address: number; readonly lengthBytes: number }) {
    this.#words = new Uint32Array(mapping.buffer);
    this.#bytes = new Uint8Array(mapping.buffer);
    this.#base = mapping.address;
    this.#arenaBase = arena.address;
    this.#arenaBytes = arena.lengthBytes;
    assert(this.#words.length >= TAKE_WORDS_MAX, 'scratch memory holds the largest request');
  }

  /** True when any one request fits. If not, the caller submits what is pending and calls {@link reset}. */
  get roomy(): boolean {
    return this.#used + TAKE_WORDS_MAX <= this.#words.length;
  }

  /** Frees everything. Only while no entry is pending. */
  reset(): void {
    this.#used = 0;
  }

  /** Copies a segment list and returns its address. Segments outside the arena are a bug. */
  segments(segments: Uint32Array, first: number, count: number): number {
    assert(count >= 1 && count <= SEGMENT_COUNT_MAX, 'a segment list has 1 to 256 segments');
    const start = this.#used;
    let at = start;
    for (let i = 2 * first; i < 2 * (first + count); i += 2) {
      const address = segments[i]!;
      const lengthBytes = segments[i + 1]!;
      assert(address + lengthBytes <= this.#arenaBytes, 'segments lie in the arena');
      this.#put64(at, this.#arenaBase + address);
      this.#words[at + 2] = lengthBytes;
      this.#words[at + 3] = 0;
      at += SEGMENT_WORDS;
    }
    this.#used = at;
    return this.#base + start * WORD;
  }

  /** Makes a message of a segment list at `segmentsAddress` and returns its address. */
  message(segmentsAddress: number, count: number): number {
    const at = this.#used;
    this.#used = at + MESSAGE_WORDS;
    this.#words.fill(0, at, at + MESSAGE_WORDS);
    this.#put64(at + 4, segmentsAddress);
    this.#words[at + 6] = count;
    return this.#base + at * WORD;
  }

  timeout(delayMs: number): number {
    const at = this.#used;
    this.#used = at + TIMEOUT_WORDS;
    const seconds = Math.floor(delayMs / MS_PER_SECOND);
    this.#put64(at, seconds);
    this.#put64(at + 2, Math.round((delayMs - seconds * MS_PER_SECOND) * NS_PER_MS));
    return this.#base + at * WORD;
  }

  /** Copies a socket address of at most {@link SOCKET_ADDRESS_BYTES} and returns where it is. */
  socketAddress(address: Uint8Array): number {
    assert(address.length <= SOCKET_ADDRESS_BYTES, 'a socket address has its place');
    const at = this.#used;
    this.#used = at + SOCKET_ADDRESS_WORDS;
    this.#bytes.set(address, at * WORD);
    return this.#base + at * WORD;
  }

  #put64(at: number, value: number): void {
    this.#words[at] = value >>> 0;
    this.#words[at + 1] = value / WORD_RANGE;
  }
}
