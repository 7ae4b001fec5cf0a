/**
 * Unanswered requests in the order in which they came, and how far the present connection has sent them. Requests are
 * slot numbers; everything is preallocated.
 *
 * Invariants:
 *  1. The order never changes: after a reconnect everything unanswered is sent again in the order it first came.
 *  2. What was sent on this connection is a prefix of the queue.
 */

import { assert } from '../lib/assert.ts';

export class RequestQueue {
  readonly #end: number;
  readonly #next: Uint16Array;
  readonly #previous: Uint16Array;
  readonly #queued: Uint8Array;
  readonly #sent: Uint8Array;
  /** First slot that this connection has not sent, or the end. */
  #cursor: number;

  /** Slots are below `slotCount`. */
  constructor(slotCount: number) {
    this.#end = slotCount;
    this.#next = new Uint16Array(slotCount + 1).fill(slotCount);
    this.#previous = new Uint16Array(slotCount + 1).fill(slotCount);
    this.#queued = new Uint8Array(slotCount);
    this.#sent = new Uint8Array(slotCount);
    this.#cursor = slotCount;
  }

  add(slot: number): void {
    assert(this.#queued[slot] === 0, 'a slot has one request at a time');
    const last = this.#previous[this.#end]!;
    this.#next[last] = slot;
    this.#previous[slot] = last;
    this.#next[slot] = this.#end;
    this.#previous[this.#end] = slot;
    this.#queued[slot] = 1;
    this.#sent[slot] = 0;
    if (this.#cursor === this.#end) this.#cursor = slot;
  }

  /** Next slot to send on this connection, which then counts as sent. Undefined if all are. */
  send(): number | undefined {
    const slot = this.#cursor;
    if (slot === this.#end) return undefined;
    this.#sent[slot] = 1;
    this.#cursor = this.#next[slot]!;
    return slot;
  }

  /** Whether `slot` was sent on this connection and awaits its answer. */
  isSent(slot: number): boolean {
    return slot < this.#end && this.#sent[slot] === 1;
  }

  /** Takes an answered (or failed) request out. */
  remove(slot: number): void {
    assert(this.#queued[slot] === 1, 'only queued requests are answered');
    if (this.#cursor === slot) this.#cursor = this.#next[slot]!;
    this.#next[this.#previous[slot]!] = this.#next[slot]!;
    this.#previous[this.#next[slot]!] = this.#previous[slot]!;
    this.#queued[slot] = 0;
    this.#sent[slot] = 0;
  }

  /** The connection is lost: everything is to be sent again. */
  rewind(): void {
    this.#sent.fill(0);
    this.#cursor = this.#next[this.#end]!;
  }

  /** The oldest request, or undefined. */
  first(): number | undefined {
    const slot = this.#next[this.#end]!;
    return slot === this.#end ? undefined : slot;
  }

  get allSent(): boolean {
    return this.#cursor === this.#end;
  }
}
