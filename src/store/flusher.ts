/**
 * Flushes of one drive: at most one fdatasync under way, the waiters behind it share the next one (group commit over all
 * volumes of the drive). Nothing waits for a timer: the next fdatasync starts when the former ends. Checkpoints flush here too: of two
 * fdatasyncs at once one may fail, and the other vouch for what it lost.
 *
 * A flush asks for an LSN: the newest frame with a change acknowledged before the flush came. It is answered when a fdatasync,
 * submitted after that frame and its data had completed, has returned.
 */

import type { Port } from '../env/io.ts';
import type { Log } from './log.ts';
import type { Media } from './media.ts';

/** Unflushed log and data at most, before the drive flushes by itself (drive-store.md, O10). */
const UNFLUSHED_BYTES_MAX = 32 * 1024 * 1024;
const UNFLUSHED_MS_MAX = 1000;
const MARK_DELAY_MS = 10;

const TIMER_UNFLUSHED = 0;
const TIMER_MARK = 1;

type Waiter = { readonly lsn: number; readonly done: () => void };

export class Flusher {
  readonly #media: Media;
  readonly #log: Log;
  readonly #port: Port;
  readonly #timers: Port;
  readonly #onFlushed: (token: number) => void;
  readonly #onDurable: () => void;
  /** Requests in order of arrival, a ring; what they ask for only rises, since acknowledged LSNs only rise. */
  #tokens: Int32Array = new Int32Array(256);
  #asks: Float64Array = new Float64Array(256);
  #first = 0;
  #count = 0;
  /** The store's own waiters: rare. */
  #waiters: Waiter[] = [];
  #wanted = -1;
  /** Those who wait for a fdatasync that starts after they came, whatever it covers; and those of the one under way. */
  #barriers: (() => void)[] = [];
  #covered: (() => void)[] = [];
  #inFlight = false;
  #captured = 0;
  #capturedBytes = 0;
  #flushedBytes = 0;
  /** The first flush after a start is never answered without a fdatasync of this process (design.md, 3.2). */
  #virgin = true;
  #timerArmed = false;
  #markArmed = false;

  constructor(
    media: Media,
    log: Log,
    options: {
      readonly onFlushed: (token: number) => void;
      /** durableLsn rose. */
      readonly onDurable: () => void;
    },
  ) {
    this.#media = media;
    this.#log = log;
    this.#onFlushed = options.onFlushed;
    this.#onDurable = options.onDurable;
    this.#port = media.io.port((_, result) => this.#onFlush(result));
    this.#timers = media.io.port((timer, result) => this.#onTimer(timer, result));
  }

  /** Calls onFlushed(token) once everything up to frame `lsn` is durable; never inside this call. */
  flush(token: number, lsn: number): void {
    if (this.#count === this.#tokens.length) this.#grow();
    const at = (this.#first + this.#count) % this.#tokens.length;
    this.#tokens[at] = token;
    this.#asks[at] = this.#virgin ? Math.max(lsn, this.#log.durableLsn) : lsn;
    this.#count++;
    this.#media.counters.flushes++;
  }

  #grow(): void {
    const tokens = new Int32Array(this.#tokens.length * 2);
    const asks = new Float64Array(tokens.length);
    for (let index = 0; index < this.#count; index++) {
      const at = (this.#first + index) % this.#tokens.length;
      tokens[index] = this.#tokens[at] ?? 0;
      asks[index] = this.#asks[at] ?? 0;
    }
    this.#tokens = tokens;
    this.#asks = asks;
    this.#first = 0;
  }

  /** What the newest fdatasync covers once it returns. */
  get capturedLsn(): number {
    return this.#captured;
  }

  /** Whether a flush for `lsn` would have nothing to do. */
  isDurable(lsn: number): boolean {
    return !this.#virgin && lsn <= this.#log.durableLsn;
  }

  /** Calls `done` once frame `lsn` is durable; perhaps at once. */
  require(lsn: number, done: () => void): void {
    if (lsn <= this.#log.durableLsn) {
      done();
      return;
    }
    this.#waiters.push({ lsn, done });
    this.#wanted = Math.max(this.#wanted, lsn);
  }

  /** Calls `done` when a fdatasync that starts after this call has returned: whatever was written by now is on media then. */
  barrier(done: () => void): void {
    this.#barriers.push(done);
    if (!this.#inFlight && this.#media.fault === undefined) this.#start();
  }

  /** Starts a fdatasync if someone waits for one and what they wait for has settled. Called at the end of a turn. */
  pump(): void {
    if (this.#media.fault !== undefined) return;
    const { settledLsn, durableLsn, dirtyLsn } = this.#log;
    if (!this.#inFlight) {
      const unflushed = this.#log.dirtyBytes - this.#flushedBytes;
      const asked = this.#count > 0 && (this.#asks[this.#first] ?? 0) <= settledLsn;
      const wanted = this.#wanted > durableLsn && this.#wanted <= settledLsn;
      const full = unflushed >= UNFLUSHED_BYTES_MAX && settledLsn > durableLsn;
      if (asked || wanted || full || this.#barriers.length > 0) this.#start();
    }
    if (!this.#timerArmed && dirtyLsn > durableLsn) {
      this.#timerArmed = true;
      this.#media.io.timer(this.#timers, TIMER_UNFLUSHED, UNFLUSHED_MS_MAX);
    }
  }

  #start(): void {
    this.#inFlight = true;
    this.#covered = this.#barriers;
    this.#barriers = [];
    // What is settled now is what this fdatasync covers; sampled later, it would claim writes that it may have missed.
    this.#captured = this.#log.settledLsn;
    this.#capturedBytes = this.#log.dirtyBytes;
    this.#media.counters.fdatasyncs++;
    this.#media.io.flush(this.#port, 0, this.#media.fd);
  }

  #onFlush(result: number): void {
    this.#inFlight = false;
    this.#media.activity++;
    if (result < 0) {
      this.#media.stop(`fdatasync failed (${result})`);
      return;
    }
    this.#virgin = false;
    this.#log.durableLsn = Math.max(this.#log.durableLsn, this.#captured);
    this.#flushedBytes = this.#capturedBytes;
    const durable = this.#log.durableLsn;
    while (this.#count > 0 && (this.#asks[this.#first] ?? 0) <= durable) {
      const token = this.#tokens[this.#first] ?? 0;
      this.#first = (this.#first + 1) % this.#tokens.length;
      this.#count--;
      this.#onFlushed(token);
    }
    this.#onDurable();
    for (const done of this.#covered) done();
    if (this.#wanted >= 0 && this.#waiters.length > 0) this.#wake(durable);
    if (!this.#markArmed) this.#armMark();
  }

  #armMark(): void {
    this.#markArmed = true;
    this.#media.io.timer(this.#timers, TIMER_MARK, MARK_DELAY_MS);
  }

  #wake(durable: number): void {
    const ready = this.#waiters.filter((waiter) => waiter.lsn <= durable);
    this.#waiters = this.#waiters.filter((waiter) => waiter.lsn > durable);
    this.#wanted = this.#waiters.reduce((most, waiter) => Math.max(most, waiter.lsn), -1);
    for (const waiter of ready) waiter.done();
  }

  #onTimer(timer: number, result: number): void {
    if (timer === TIMER_MARK) {
      this.#markArmed = false;
      if (result !== 0 || this.#media.fault !== undefined) return;
      this.#log.mark();
      if (this.#log.markBehind) this.#armMark();
      return;
    }
    this.#timerArmed = false;
    if (result !== 0) return;
    if (this.#log.dirtyLsn > this.#log.durableLsn)
      this.require(this.#log.dirtyLsn, () => undefined);
  }

  /** A stopped drive answers the flushes that wait: `onFlushed` with the caller's knowledge of the fault. */
  failAll(): void {
    while (this.#count > 0) {
      const token = this.#tokens[this.#first] ?? 0;
      this.#first = (this.#first + 1) % this.#tokens.length;
      this.#count--;
      this.#onFlushed(token);
    }
  }

  /** Ends the timers. */
  close(): void {
    this.#media.io.cancelTimer(this.#timers, TIMER_UNFLUSHED);
    this.#media.io.cancelTimer(this.#timers, TIMER_MARK);
  }
}
