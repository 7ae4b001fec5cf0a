/**
 * A volume in memory, for tests and benchmarks of frontends. Requests take effect when they are made and are answered at the end of
 * the turn; or, while `held`, when the test says so. Faults are set by the test.
 */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';

import type { Io } from '../src/env/io.ts';
import {
  type BlockTarget,
  type OnDone,
  BLOCK_BYTES,
  REQUEST_BYTES_MAX,
} from '../src/model/block-target.ts';

export type TargetCall = {
  readonly call: 'read' | 'write' | 'zero' | 'trim' | 'flush';
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly fua: boolean;
  readonly allocate: boolean;
};

export type MemoryTargetOptions = {
  readonly sizeBytes: number;
  readonly requestCountMax?: number;
  /** Keep a list of calls in {@link MemoryTarget.calls}. */
  readonly recordsCalls?: boolean;
};

export class MemoryTarget implements BlockTarget {
  sizeBytes: number;
  readonly requestCountMax: number;
  readonly data: Buffer;
  /** By block: 1 if it holds data. */
  readonly allocated: Uint8Array;
  readonly calls: TargetCall[] = [];
  /** Errno of the calls to come whose range touches a byte in [from, to); flushes are at [0, 0). */
  fault: { readonly errno: number; readonly from: number; readonly to: number } | undefined;
  /** While true nothing is answered. */
  held = false;
  /** While set, reads whose range touches a byte in [from, to) are not answered. */
  late: { readonly from: number; readonly to: number } | undefined;
  inFlight = 0;
  inFlightMax = 0;
  readonly #io: Io;
  readonly #arena: Buffer;
  readonly #onDone: OnDone;
  readonly #recordsCalls: boolean;
  #over: number[] = [];
  #overLate: number[] = [];

  constructor(io: Io, onDone: OnDone, options: MemoryTargetOptions) {
    this.sizeBytes = options.sizeBytes;
    this.requestCountMax = options.requestCountMax ?? 256;
    this.#recordsCalls = options.recordsCalls ?? false;
    this.data = Buffer.alloc(options.sizeBytes);
    this.allocated = new Uint8Array(Math.ceil(options.sizeBytes / BLOCK_BYTES));
    this.#arena = Buffer.from(io.memory.buffer);
    this.#onDone = onDone;
    this.#io = io;
    io.onTurnEnd(() => this.#tell());
  }

  read(token: number, firstBlock: number, blockCount: number, address: number): void {
    const offsetBytes = firstBlock * BLOCK_BYTES;
    const lengthBytes = blockCount * BLOCK_BYTES;
    assert.ok(lengthBytes <= REQUEST_BYTES_MAX, 'no request is larger');
    const errno = this.#begin('read', offsetBytes, lengthBytes, false, false);
    if (errno === 0) this.data.copy(this.#arena, address, offsetBytes, offsetBytes + lengthBytes);
    else this.#arena.fill(0xee, address, address + lengthBytes);
    const { late } = this;
    const isLate =
      late !== undefined && offsetBytes < late.to && offsetBytes + lengthBytes > late.from;
    (isLate ? this.#overLate : this.#over).push(token, errno);
  }

  write(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    address: number,
    fua: boolean,
  ): void {
    if (address % BLOCK_BYTES !== offsetBytes % BLOCK_BYTES) throw new Error('misaligned write');
    const errno = this.#begin('write', offsetBytes, lengthBytes, fua, false);
    if (errno === 0) {
      this.#arena.copy(this.data, offsetBytes, address, address + lengthBytes);
      this.#allocate(offsetBytes, lengthBytes, 1);
    }
    this.#over.push(token, errno);
  }

  zero(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    options: { readonly allocate: boolean; readonly fua: boolean },
  ): void {
    const { allocate, fua } = options;
    const errno = this.#begin('zero', offsetBytes, lengthBytes, fua, allocate);
    if (errno === 0) {
      this.data.fill(0, offsetBytes, offsetBytes + lengthBytes);
      if (allocate) this.#allocate(offsetBytes, lengthBytes, 1);
      else this.#free(offsetBytes, lengthBytes);
    }
    this.#over.push(token, errno);
  }

  trim(token: number, offsetBytes: number, lengthBytes: number, fua: boolean): void {
    const errno = this.#begin('trim', offsetBytes, lengthBytes, fua, false);
    if (errno === 0) {
      const { from, to } = wholeBlocks(offsetBytes, lengthBytes);
      if (to > from) this.data.fill(0, from * BLOCK_BYTES, to * BLOCK_BYTES);
      this.#free(offsetBytes, lengthBytes);
    }
    this.#over.push(token, errno);
  }

  flush(token: number): void {
    this.#over.push(token, this.#begin('flush', 0, 0, false, false));
  }

  status(firstBlock: number, blockCount: number, runs: Uint32Array): number {
    let pairs = 0;
    let last = -1;
    for (let block = firstBlock; block < firstBlock + blockCount; block += 1) {
      const state = this.allocated[block] ?? 0;
      if (state !== last) {
        if (2 * pairs + 2 > runs.length) return pairs;
        runs[2 * pairs] = 0;
        runs[2 * pairs + 1] = state;
        pairs += 1;
        last = state;
      }
      runs[2 * pairs - 2] = (runs[2 * pairs - 2] ?? 0) + 1;
    }
    return pairs;
  }

  #begin(
    call: TargetCall['call'],
    offsetBytes: number,
    lengthBytes: number,
    fua: boolean,
    allocate: boolean,
  ): number {
    // What begins in the hooks behind ours, or in our own, would wait for a turn that nobody makes.
    if (this.#over.length === 0) this.#io.yieldTurn();
    this.inFlight += 1;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    if (this.#recordsCalls) this.calls.push({ call, offsetBytes, lengthBytes, fua, allocate });
    if (offsetBytes + lengthBytes > this.sizeBytes) throw new Error('a request beyond the end');
    const { fault } = this;
    if (fault === undefined) return 0;
    return offsetBytes < fault.to && offsetBytes + lengthBytes > fault.from ? fault.errno : 0;
  }

  #allocate(offsetBytes: number, lengthBytes: number, state: number): void {
    const from = Math.floor(offsetBytes / BLOCK_BYTES);
    const to = Math.ceil((offsetBytes + lengthBytes) / BLOCK_BYTES);
    if (to === from + 1) this.allocated[from] = state;
    else this.allocated.fill(state, from, to);
  }

  #free(offsetBytes: number, lengthBytes: number): void {
    const { from, to } = wholeBlocks(offsetBytes, lengthBytes);
    if (to > from) this.allocated.fill(0, from, to);
  }

  #tell(): void {
    if (this.late === undefined && this.#overLate.length > 0) {
      this.#over.push(...this.#overLate);
      this.#overLate = [];
    }
    if (this.held || this.#over.length === 0) return;
    const over = this.#over;
    this.#over = [];
    for (let index = 0; index < over.length; index += 2) {
      this.inFlight -= 1;
      this.#onDone(over[index]!, over[index + 1]!);
    }
  }
}

function wholeBlocks(offsetBytes: number, lengthBytes: number): { from: number; to: number } {
  return {
    from: Math.ceil(offsetBytes / BLOCK_BYTES),
    to: Math.floor((offsetBytes + lengthBytes) / BLOCK_BYTES),
  };
}
