/**
 * Serves the one file of a FUSE mount from a volume's NBD client. Reads and writes travel without a copy: a request is
 * read into a slot of the arena, its data goes out from there, and a read's data comes in there.
 *
 * What the kernel asks about the file itself is answered here, so that only I/O waits while the engine restarts.
 *
 * Invariants:
 *  1. A slot is free, being read into, with the NBD client, or being answered: never two of them.
 *  2. An FSYNC is answered only by an NBD FLUSH sent after it arrived.
 *  3. The kernel has at most {@link REQUEST_COUNT_MAX} requests in flight by itself, fewer than there are slots, so that a
 *     slot is left to read what must not wait behind I/O.
 */

import { assert } from '../lib/assert.ts';
import {
  EAGAIN,
  ECONNABORTED,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOSYS,
  EOPNOTSUPP,
} from '../model/errno.ts';
import * as reply from '../wire/fuse/fuse-reply.ts';
import * as fuse from '../wire/fuse/fuse-request.ts';
import type { Berth } from './berths.ts';
import type { NbdClient } from './nbd-client.ts';

/** Bytes of one request: the store's own unit. 1 MiB was not faster, and takes four times the memory. */
export const WRITE_BYTES_MAX: number = 256 * 1024;
/** A loop device has 128 requests in flight at most; 32 of 256 KiB fill any disk. */
export const SLOT_COUNT = 36;
const REQUEST_COUNT_MAX = 32;
/** Before the data of a slot: the request's header, and where data begins on a page of its own. */
const HEAD_BYTES = 4096;
const SLOT_BYTES: number = HEAD_BYTES + WRITE_BYTES_MAX;
/** Where a reply is formatted: behind the longest request header, before the data of a READ. */
const REPLY_AT = 1024;
export const FUSE_ARENA_BYTES: number = SLOT_COUNT * SLOT_BYTES;

/**
 * Reads of the FUSE device that wait at once. Each request wakes all of them, and one takes it: measured, 2 and 4 gave a
 * quarter fewer requests a second than 1 at depth 32.
 */
const READS_WAITING = 1;
/** Bytes of one WRITE_ZEROES: the length field has 32 bits, and a bound keeps each one short. */
const ZERO_BYTES_MAX: number = 2 ** 30;

const READ_ERRORS_PASSING: ReadonlySet<number> = new Set([ENOENT, EINTR, EAGAIN]);
const READ_ERRORS_END: ReadonlySet<number> = new Set([ENODEV, ECONNABORTED]);

const INDEX_READ = 0;
const INDEX_ANSWER = 64;
/** Completion indexes that a file uses. */
export const FUSE_INDEX_COUNT = 128;

/** What does a file's I/O, each request with `slot`, of which it tells {@link FuseFile.onDone}. */
export type FuseClient = Pick<NbdClient, 'read' | 'write' | 'flush' | 'zero'>;

export type FuseFileOptions = {
  readonly berth: Berth;
  /** {@link FUSE_ARENA_BYTES}, a multiple of 4096. */
  readonly address: number;
  /** The descriptor of /dev/fuse, mounted or about to be. */
  readonly fd: number;
  readonly sizeBytes: number;
  /** The kernel has ended the connection (unmounted, or aborted); nothing of it is in flight any more. */
  readonly onEnded: () => void;
};

export class FuseFile {
  readonly #options: FuseFileOptions;
  readonly #words: Uint32Array;
  readonly #requests: fuse.FuseRequest[];
  readonly #segments = new Uint32Array(4);
  /** What is left of a FALLOCATE that takes several NBD requests. */
  readonly #zeroLeft: Float64Array;
  /** 1: free. The lowest free slot is taken first, so that little memory is touched while there is little to do. */
  readonly #free: Uint8Array;
  #client: FuseClient | undefined;
  #sizeBytes: number;
  #reading = 0;
  #busy = 0;
  #paused = false;
  #onIdle: (() => void) | undefined;
  #ended = false;
  #endTold = false;

  constructor(options: FuseFileOptions) {
    this.#options = options;
    this.#sizeBytes = options.sizeBytes;
    this.#words = new Uint32Array(options.berth.io.memory.buffer);
    this.#requests = Array.from({ length: SLOT_COUNT }, () => fuse.newRequest());
    this.#zeroLeft = new Float64Array(SLOT_COUNT);
    this.#free = new Uint8Array(SLOT_COUNT).fill(1);
  }

  /** Begins to serve, or goes on after a pause. The client's `onDone` is {@link FuseFile.onDone}. */
  start(client: FuseClient): void {
    this.#client = client;
    this.#paused = false;
    this.#onIdle = undefined;
    this.#readMore();
  }

  /** Size that the file has from now on. */
  resize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Reads no more requests: the kernel keeps them. `onIdle`: all that was read is answered. The one read that waits already ends with
   * the next request, whatever that is.
   */
  pause(onIdle: () => void): void {
    this.#paused = true;
    this.#onIdle = onIdle;
    this.#tellIdle();
  }

  onCompletion(index: number, result: number): void {
    if (index < INDEX_ANSWER) this.#onRead(index - INDEX_READ, result);
    else this.#onAnswered(index - INDEX_ANSWER, result);
  }

  /** The NBD client has done what `slot` asked. */
  onDone(slot: number, errno: number): void {
    const request = this.#requests[slot]!;
    switch (request.opcode) {
      case fuse.OPCODE_READ:
        if (errno === 0) this.#answerData(slot, request.lengthBytes);
        else this.#answerStatus(slot, errno);
        return;
      case fuse.OPCODE_WRITE:
        if (errno === 0)
          this.#answer(
            slot,
            reply.formatWrite(this.#words, this.#replyWord(slot), {
              to: request,
              dataBytes: request.lengthBytes,
            }),
          );
        else this.#answerStatus(slot, errno);
        return;
      case fuse.OPCODE_FALLOCATE:
        if (errno === 0 && this.#zeroLeft[slot]! > 0) this.#zeroNext(slot);
        else this.#answerStatus(slot, errno);
        return;
      default:
        this.#answerStatus(slot, errno);
    }
  }

  #readMore(): void {
    const { io, port, firstIndex } = this.#options.berth;
    while (!this.#ended && !this.#paused && this.#reading < READS_WAITING) {
      const slot = this.#free.indexOf(1);
      if (slot < 0) return;
      this.#free[slot] = 0;
      this.#reading += 1;
      const address = this.#address(slot);
      io.read(port, firstIndex + INDEX_READ + slot, this.#options.fd, 0, address, SLOT_BYTES);
    }
  }

  #onRead(slot: number, result: number): void {
    this.#reading -= 1;
    if (result < 0) {
      this.#free[slot] = 1;
      this.#onReadFailed(-result);
      return;
    }
    this.#busy += 1;
    const request = this.#requests[slot]!;
    const options = { receivedBytes: result, request };
    if (fuse.parseRequest(this.#words, this.#address(slot) / 4, options)) this.#serve(slot);
    else this.#release(slot);
    this.#readMore();
  }

  /**
   * fuse_dev_read: ENOENT is a request that was taken back before it was read, EINTR a signal, ENODEV the end. EAGAIN comes from
   * io_uring when one read was woken in vain 128 times.
   */
  #onReadFailed(errno: number): void {
    if (!READ_ERRORS_PASSING.has(errno)) {
      assert(READ_ERRORS_END.has(errno), `the FUSE device ends with ENODEV, not errno ${errno}`);
      this.#ended = true;
    }
    this.#readMore();
    this.#tellEnd();
    this.#tellIdle();
  }

  #serve(slot: number): void {
    const request = this.#requests[slot]!;
    const words = this.#words;
    const at = this.#replyWord(slot);
    switch (request.opcode) {
      case fuse.OPCODE_READ:
        this.#onReadRequest(slot);
        return;
      case fuse.OPCODE_WRITE:
        this.#onWriteRequest(slot);
        return;
      case fuse.OPCODE_FSYNC:
        this.#nbd.flush(slot);
        return;
      case fuse.OPCODE_FALLOCATE:
        this.#onFallocate(slot);
        return;
      case fuse.OPCODE_FORGET:
      case fuse.OPCODE_BATCH_FORGET:
        // The two that have no reply.
        this.#release(slot);
        return;
      case fuse.OPCODE_INIT:
        this.#onInit(slot);
        return;
      case fuse.OPCODE_GETATTR:
        this.#answer(
          slot,
          reply.formatAttributes(words, at, { to: request, sizeBytes: this.#sizeBytes }),
        );
        return;
      case fuse.OPCODE_OPEN:
        this.#answer(slot, reply.formatOpen(words, at, { to: request }));
        return;
      case fuse.OPCODE_STATFS:
        this.#answer(
          slot,
          reply.formatStatfs(words, at, { to: request, sizeBytes: this.#sizeBytes }),
        );
        return;
      case fuse.OPCODE_FLUSH:
      // Despite its name: a descriptor was closed. It promises nothing, and must not wait for the engine.
      case fuse.OPCODE_RELEASE:
      case fuse.OPCODE_DESTROY:
        this.#answerStatus(slot, 0);
        return;
      default:
        // To an INTERRUPT this says: never again. Requests are not abandoned here.
        this.#answerStatus(slot, ENOSYS);
    }
  }

  get #nbd(): FuseClient {
    assert(this.#client !== undefined, 'a file is served after its start');
    return this.#client;
  }

  #onInit(slot: number): void {
    const request = this.#requests[slot]!;
    const tooOld = request.major === reply.PROTOCOL_MAJOR && request.minor < reply.PROTOCOL_MINOR;
    if (request.major !== reply.PROTOCOL_MAJOR || tooOld) {
      this.#answerStatus(slot, EIO);
      return;
    }
    const lengthBytes = reply.formatInit(this.#words, this.#replyWord(slot), {
      to: request,
      kernelFlags: request.flags,
      writeBytesMax: WRITE_BYTES_MAX,
      requestCountMax: REQUEST_COUNT_MAX,
    });
    this.#answer(slot, lengthBytes);
  }

  #onReadRequest(slot: number): void {
    const request = this.#requests[slot]!;
    const { offsetBytes } = request;
    const lengthBytes = Math.max(0, Math.min(request.lengthBytes, this.#sizeBytes - offsetBytes));
    if (request.lengthBytes > WRITE_BYTES_MAX) {
      this.#answerStatus(slot, EINVAL);
      return;
    }
    request.lengthBytes = lengthBytes;
    if (lengthBytes === 0) this.#answerData(slot, 0);
    else
      this.#nbd.read(slot, offsetBytes, { address: this.#address(slot) + HEAD_BYTES, lengthBytes });
  }

  #onWriteRequest(slot: number): void {
    const { offsetBytes, lengthBytes } = this.#requests[slot]!;
    if (offsetBytes + lengthBytes > this.#sizeBytes || lengthBytes === 0) {
      this.#answerStatus(slot, EINVAL);
      return;
    }
    const address = this.#address(slot) + fuse.WRITE_DATA_AT;
    this.#nbd.write(slot, offsetBytes, { address, lengthBytes });
  }

  /** A hole reads as zeros, which NBD promises of WRITE_ZEROES and not of TRIM: the loop device sends both as holes. */
  #onFallocate(slot: number): void {
    const { offsetBytes, lengthBytes, mode } = this.#requests[slot]!;
    const kind = mode & ~fuse.FALLOCATE_KEEP_SIZE;
    if (kind !== fuse.FALLOCATE_PUNCH_HOLE && kind !== fuse.FALLOCATE_ZERO_RANGE) {
      this.#answerStatus(slot, EOPNOTSUPP);
    } else if (offsetBytes + lengthBytes > this.#sizeBytes) {
      this.#answerStatus(slot, EINVAL);
    } else {
      this.#zeroLeft[slot] = lengthBytes;
      if (lengthBytes === 0) this.#answerStatus(slot, 0);
      else this.#zeroNext(slot);
    }
  }

  #zeroNext(slot: number): void {
    const request = this.#requests[slot]!;
    const left = this.#zeroLeft[slot]!;
    const offsetBytes = request.offsetBytes + request.lengthBytes - left;
    const lengthBytes = Math.min(left, ZERO_BYTES_MAX);
    this.#zeroLeft[slot] = left - lengthBytes;
    const keepSpace = (request.mode & fuse.FALLOCATE_ZERO_RANGE) !== 0;
    this.#nbd.zero(slot, offsetBytes, { lengthBytes, keepSpace });
  }

  #answerStatus(slot: number, errno: number): void {
    const to = this.#requests[slot]!;
    this.#answer(slot, reply.formatStatus(this.#words, this.#replyWord(slot), { to, errno }));
  }

  #answer(slot: number, lengthBytes: number): void {
    this.#segments[0] = this.#address(slot) + REPLY_AT;
    this.#segments[1] = lengthBytes;
    this.#submitAnswer(slot, 1);
  }

  #answerData(slot: number, dataBytes: number): void {
    const to = this.#requests[slot]!;
    this.#segments[0] = this.#address(slot) + REPLY_AT;
    this.#segments[1] = reply.formatRead(this.#words, this.#replyWord(slot), { to, dataBytes });
    this.#segments[2] = this.#address(slot) + HEAD_BYTES;
    this.#segments[3] = dataBytes;
    this.#submitAnswer(slot, dataBytes === 0 ? 1 : 2);
  }

  #submitAnswer(slot: number, segmentCount: number): void {
    const { io, port, firstIndex } = this.#options.berth;
    const { fd } = this.#options;
    io.writev(port, firstIndex + INDEX_ANSWER + slot, fd, 0, this.#segments, 0, segmentCount);
  }

  /** An answer that the kernel refuses belongs to a request that it no longer has (ENOENT) or to an ended mount. */
  #onAnswered(slot: number, _result: number): void {
    this.#release(slot);
    this.#readMore();
  }

  #release(slot: number): void {
    this.#free[slot] = 1;
    this.#busy -= 1;
    this.#tellEnd();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (!this.#paused || this.#reading > 0 || this.#busy > 0) return;
    this.#onIdle?.();
    this.#onIdle = undefined;
  }

  #tellEnd(): void {
    if (!this.#ended || this.#endTold || this.#reading > 0 || this.#busy > 0) return;
    this.#endTold = true;
    this.#options.onEnded();
  }

  #address(slot: number): number {
    return this.#options.address + slot * SLOT_BYTES;
  }

  #replyWord(slot: number): number {
    return (this.#address(slot) + REPLY_AT) / 4;
  }
}
