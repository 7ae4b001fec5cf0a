/**
 * The loop under `env.io` on io_uring: entries in, completions out, the runtime let in when it has something to do.
 * Every entry carries in its user data all that its completion needs, so there is no table of operations.
 *
 * Invariants:
 *  1. A callback runs only in {@link Reactor.turn}: never inside the call that submitted.
 *  2. No completion is lost: what does not fit the ring is kept by the kernel (IORING_FEAT_NODROP) or taken out to `#spilled`.
 *  3. Scratch memory is reset only when no entry is pending.
 *  4. A descriptor's number is given back only when no operation names it.
 */

import { performance } from 'node:perf_hooks';

import { assert } from '../../lib/assert.ts';
import { EBADF, ECANCELED, EINTR, ETIME } from '../../model/errno.ts';
import { type OnCompletion, PORT_COUNT_MAX } from '../io.ts';
import { Descriptors, NONE } from '../descriptors.ts';
import {
  FD_MASK,
  IDLE_TICK,
  KIND_CLOSE,
  KIND_CONNECT,
  KIND_FILE,
  KIND_INTERNAL,
  KIND_MERGED,
  KIND_SHIFT,
  KIND_SOCKET,
  KIND_TIMER,
  OP_CLOSE,
  OP_POLL_ADD,
  OP_TIMEOUT,
  POLLIN,
  RUNTIME_READY,
  indexOf,
  portOf,
} from './operations.ts';
import { Merges } from './merges.ts';
import type { Ring } from './ring.ts';
import type { Scratch } from './scratch.ts';
import type { Syscalls } from './syscalls.ts';

const WORD_RANGE = 2 ** 32;

/**
 * While nothing else happens the runtime gets control once a second, so that a timer of Node's own is at most that late.
 * It costs some 20 µs each.
 */
const IDLE_TICK_MS = 1000;
/** A busy reactor lets the runtime run after this many turns: some 10 ms at 40 µs a turn. */
const TURNS_PER_YIELD = 256;
/** The kernel refuses entries only for want of memory. 5 s of trying, then the process is better restarted. */
const SUBMIT_TRIES_MAX = 5000;
const SUBMIT_TRY_MS = 1;

export class Reactor {
  readonly merges: Merges;
  readonly #system: Syscalls;
  readonly #ring: Ring;
  readonly #sqe: Uint32Array;
  readonly #scratch: Scratch;
  readonly #descriptors = new Descriptors();
  readonly #ports: OnCompletion[] = [];
  readonly #hooks: (() => void)[] = [];
  /** (tag, result) of operations that ended without the ring. Delivered in the next turn. */
  #deferred: number[] = [];
  /** (tag, high word, result) of completions taken out of a full ring. Delivered in the next turn. */
  #spilled: number[] = [];

  readonly #runtimeFd: number;
  /** Events that the runtime's loop had handled when it last gave us control. */
  #runtimeEvents = -1;
  #runtimeArmed = false;
  #tickArmed = false;
  #yieldAsked = false;
  #running = false;
  #stopAsked = false;
  #turnsToYield = TURNS_PER_YIELD;
  turnCount = 0;
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));

  /** `runtimeFd` becomes readable when the runtime's own loop has something to do. */
  constructor(
    system: Syscalls,
    parts: { readonly ring: Ring; readonly scratch: Scratch; readonly runtimeFd: number },
  ) {
    this.#system = system;
    this.#ring = parts.ring;
    this.#sqe = parts.ring.sqe;
    this.merges = new Merges(parts.ring);
    this.#scratch = parts.scratch;
    this.#runtimeFd = parts.runtimeFd;
  }

  /** Adds a port and returns its number. */
  addPort(onCompletion: OnCompletion): number {
    assert(this.#ports.length < PORT_COUNT_MAX, 'there are at most 255 ports');
    return this.#ports.push(onCompletion) - 1;
  }

  addHook(hook: () => void): void {
    this.#hooks.push(hook);
  }

  /** Ends the operation `tag` in the next turn without asking the kernel. */
  defer(tag: number, result: number): void {
    this.#deferred.push(tag, result);
  }

  /** Counts an operation on `fd`. False, and the operation ends with EBADF, if `fd` is being closed or is none. */
  admit(fd: number, tag: number): boolean {
    if (this.#descriptors.admit(fd)) return true;
    this.defer(tag, -EBADF);
    return false;
  }

  /** Scratch memory with room for any one request. What it returns belongs to the entry taken next. */
  scratch(): Scratch {
    if (!this.#scratch.roomy || this.#ring.pending === this.#ring.entries) this.#submitAll();
    return this.#scratch;
  }

  /**
   * Takes an entry with its user data set and all else zero, and returns its first word's index in the ring's entries.
   * Nothing may come between this and the caller's writing of the rest.
   */
  entry(opcode: number, fd: number, tag: number, kind: number): number {
    if (this.#ring.pending === this.#ring.entries) this.#submitAll();
    const at = this.#ring.take();
    const sqe = this.#sqe;
    sqe[at] = opcode;
    sqe[at + 1] = fd;
    sqe[at + 2] = 0;
    sqe[at + 3] = 0;
    sqe[at + 4] = 0;
    sqe[at + 5] = 0;
    sqe[at + 6] = 0;
    sqe[at + 7] = 0;
    sqe[at + 8] = tag;
    sqe[at + 9] = (kind << KIND_SHIFT) | (fd & FD_MASK);
    sqe[at + 10] = 0;
    sqe[at + 11] = 0;
    sqe[at + 12] = 0;
    sqe[at + 13] = 0;
    sqe[at + 14] = 0;
    sqe[at + 15] = 0;
    return at;
  }

  /** Fills an entry's address and length. */
  pointAt(at: number, address: number, length: number): void {
    const sqe = this.#sqe;
    sqe[at + 4] = address >>> 0;
    sqe[at + 5] = address / WORD_RANGE;
    sqe[at + 6] = length;
  }

  /** Fills an entry's file position. */
  position(at: number, positionBytes: number): void {
    const sqe = this.#sqe;
    sqe[at + 2] = positionBytes >>> 0;
    sqe[at + 3] = positionBytes / WORD_RANGE;
  }

  /** Takes an entry for a read or write of the `lengthBytes` at `address` of the process. */
  transfer(
    opcode: number,
    tag: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    const at = this.entry(opcode, fd, tag, KIND_FILE);
    this.position(at, positionBytes);
    this.pointAt(at, address, lengthBytes);
  }

  timeout(delayMs: number, tag: number, kind: number): void {
    const timeout = this.scratch().timeout(delayMs);
    const at = this.entry(OP_TIMEOUT, 0, tag, kind);
    this.pointAt(at, timeout, 1);
  }

  /** As {@link import('../io.ts').Io.close}; `endWaits` ends what waits on the descriptor. */
  close(fd: number, tag: number, endWaits: (fd: number) => void): void {
    const inFlight = this.#descriptors.startClose(fd, tag);
    if (inFlight < 0) this.defer(tag, -EBADF);
    else if (inFlight === 0) this.entry(OP_CLOSE, fd, tag, KIND_CLOSE);
    else endWaits(fd);
  }

  submit(): void {
    if (this.#ring.pending === 0) return;
    this.#ring.enter(0, false);
    if (this.#ring.pending === 0) this.#scratch.reset();
  }

  backlog(): number {
    return this.#ring.ready + this.#deferred.length / 2 + this.#spilled.length / 3;
  }

  yieldTurn(): void {
    this.#yieldAsked = true;
  }

  stop(): void {
    this.#stopAsked = true;
  }

  run(): Promise<void> {
    assert(!this.#running, 'one run at a time');
    this.#running = true;
    this.#stopAsked = false;
    return new Promise((resolve, reject) => {
      const spin = (): void => {
        try {
          this.#spin();
        } catch (error) {
          reject(error);
          return;
        }
        if (!this.#stopAsked) {
          setImmediate(spin);
          return;
        }
        this.#running = false;
        resolve();
      };
      setImmediate(spin);
    });
  }

  /** One turn: submit, wait for a completion if `wait`, deliver, hooks. `run` is a loop of it; the self-test drives it by hand. */
  turn(wait: boolean): void {
    const known = this.#deferred.length > 0 || this.#spilled.length > 0;
    const errno = this.#ring.enter(wait && !known ? 1 : 0, true);
    if (this.#ring.pending === 0) this.#scratch.reset();
    if (errno === EINTR) this.#yieldAsked = true;
    this.turnCount += 1;
    this.#deliver();
    this.#runHooks();
  }

  /**
   * Turns until somebody needs the runtime. While the runtime finds events to handle it gets the next round at once: what its
   * callbacks began to watch enters its epoll descriptor only in its next round, and cannot wake us before.
   */
  #spin(): void {
    const { events } = performance.nodeTiming.uvMetricsInfo;
    const quiet = events === this.#runtimeEvents;
    this.#runtimeEvents = events;
    this.#yieldAsked = false;
    this.#turnsToYield = TURNS_PER_YIELD;
    // Code that ran in between may count on the hooks as code inside of a turn does.
    this.#runHooks();
    // At least one turn, without waiting where a hook asked for the runtime or the end: else it could keep completions out for ever.
    do {
      this.#armOwn();
      this.turn(quiet && !this.#yieldAsked && !this.#stopAsked);
      if (!quiet) return;
      this.#turnsToYield -= 1;
      if (this.#turnsToYield === 0) this.#yieldAsked = true;
    } while (!this.#yieldAsked && !this.#stopAsked);
  }

  /**
   * Signals, results of Node's thread pool and its collector's tasks all make the epoll descriptor of Node's loop
   * readable. Waiting on it in the ring is what wakes us: a signal that arrives between two waits interrupts neither.
   */
  #armOwn(): void {
    if (!this.#runtimeArmed) {
      this.#runtimeArmed = true;
      const at = this.entry(OP_POLL_ADD, this.#runtimeFd, RUNTIME_READY, KIND_INTERNAL);
      this.#sqe[at + 7] = POLLIN;
    }
    if (!this.#tickArmed) {
      this.#tickArmed = true;
      this.timeout(IDLE_TICK_MS, IDLE_TICK, KIND_INTERNAL);
    }
  }

  #runHooks(): void {
    for (const hook of this.#hooks) hook();
  }

  /**
   * Delivers what is known now. What the callbacks bring to completion meanwhile waits for the next turn, so that
   * hooks run at least once for each batch.
   */
  #deliver(): void {
    if (this.#deferred.length > 0) this.#deliverDeferred();
    if (this.#spilled.length > 0) this.#deliverSpilled();
    const ring = this.#ring;
    // A callback that fills the ring may spill completions: hence both conditions.
    for (let left = ring.ready; left > 0 && ring.ready > 0; left -= 1) {
      const at = ring.peek();
      const tag = ring.word(at);
      const high = ring.word(at + 1);
      const result = ring.word(at + 2);
      ring.advance();
      this.#complete(tag, high, result);
    }
  }

  #deliverDeferred(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (let i = 0; i < deferred.length; i += 2) this.#call(deferred[i]!, deferred[i + 1]!);
  }

  #deliverSpilled(): void {
    const spilled = this.#spilled;
    this.#spilled = [];
    for (let i = 0; i < spilled.length; i += 3) {
      this.#complete(spilled[i]!, spilled[i + 1]!, spilled[i + 2]!);
    }
  }

  #call(tag: number, result: number): void {
    this.#ports[portOf(tag)]!(indexOf(tag), result);
  }

  /** Ends the operation `tag` on `fd`. */
  end(fd: number, tag: number, result: number): void {
    this.#release(fd);
    this.#call(tag, result);
  }

  #complete(tag: number, high: number, result: number): void {
    const kind = high >>> KIND_SHIFT;
    const fd = high & FD_MASK;
    switch (kind) {
      case KIND_FILE:
        this.end(fd, tag, result);
        return;
      case KIND_MERGED:
        this.merges.end(tag, fd, result, this);
        return;
      case KIND_SOCKET: {
        // The waits that our own shutdown ends look like the peer's end; the caller is told what it was.
        const ended = result <= 0 && this.#descriptors.isClosing(fd);
        this.#release(fd);
        this.#call(tag, ended ? -ECANCELED : result);
        return;
      }
      case KIND_CONNECT:
        this.#release(fd);
        if (result < 0) this.#system.close(fd);
        this.#call(tag, result < 0 ? result : fd);
        return;
      case KIND_TIMER:
        this.#call(tag, result === -ETIME ? 0 : result);
        return;
      case KIND_CLOSE:
        this.#descriptors.endClose(fd);
        this.#call(tag, result);
        return;
      case KIND_INTERNAL:
        this.#completeOwn(tag);
        return;
      default:
        assert(false, `completions carry what was submitted (kind ${kind})`);
    }
  }

  #completeOwn(tag: number): void {
    if (tag === RUNTIME_READY) this.#runtimeArmed = false;
    else if (tag === IDLE_TICK) this.#tickArmed = false;
    else return;
    this.#yieldAsked = true;
  }

  #release(fd: number): void {
    const closeTag = this.#descriptors.release(fd);
    if (closeTag !== NONE) this.entry(OP_CLOSE, fd, closeTag, KIND_CLOSE);
  }

  /**
   * Makes the kernel consume every pending entry. It refuses for a moment while completions overflow (old kernels) or memory
   * is short; so that it can go on, completions are taken out of the ring, to be delivered in the next turn.
   */
  #submitAll(): void {
    const ring = this.#ring;
    for (let tries = 0; ring.pending > 0; tries += 1) {
      assert(tries < SUBMIT_TRIES_MAX, 'the kernel takes entries within 5 s');
      if (tries > 1) Atomics.wait(this.#pause, 0, 0, SUBMIT_TRY_MS);
      if (ring.enter(0, tries > 0) !== 0) this.#spill();
    }
    this.#scratch.reset();
  }

  #spill(): void {
    const ring = this.#ring;
    while (ring.ready > 0) {
      const at = ring.peek();
      this.#spilled.push(ring.word(at), ring.word(at + 1), ring.word(at + 2));
      ring.advance();
    }
  }
}
