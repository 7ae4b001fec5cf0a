/**
 * Payload in the log that its place on the drive does not have yet: overwrites of blocks whose old content is durable.
 *
 * A block of log memory that holds payload is a slot. Reads of its place are served from the slot. Once the frame is durable the
 * slot is applied: written to its place; then, or when a later durable frame superseded it, the slot is released.
 *
 * Invariants:
 *  1. A slot is applied only when its frame is durable (drive-store.md, O4).
 *  2. A slot that a later frame superseded (rewritten, trimmed, its cell freed) is dropped only if that frame is durable; otherwise it is
 *     applied all the same, since after a power cut its content may be what counts.
 *  3. One batch of applies at a time, in LSN order: media order is LSN order.
 *  4. While a batch is under way no cell leaves limbo, so no apply lands in a cell that has another owner.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { SEGMENT_COUNT_MAX, type Port } from '../env/io.ts';
import type { Log } from './log.ts';
import type { Media } from './media.ts';

/**
 * Writes of a batch that are in flight at once: few while there is time, to leave room for readers, more as memory runs short.
 */
const APPLIES_IN_FLIGHT_MIN = 16;
const APPLIES_IN_FLIGHT_MAX = 32;
/** Blocks of one batch: memory comes free batch by batch, and sorting 1,024 places takes 0.1 ms. */
const BATCH_BLOCKS_MAX = 1024;
/** Blocks merged into one write: 256 KiB. */
const MERGE_BLOCKS_MAX = 64;
const NONE = -1;

export class Payloads {
  readonly #media: Media;
  readonly #log: Log;
  readonly #port: Port;
  // By slot: a block of log memory.
  readonly #block: Float64Array;
  readonly #lsn: Float64Array;
  /** LSN of the frame that superseded the slot, Infinity while none did. */
  readonly #superseded: Float64Array;
  readonly #next: Int32Array;
  readonly #buckets: Int32Array;
  readonly #mask: number;
  /** Every slot up to this LSN is released. */
  #appliedLsn: number;
  #batchLsn = 0;
  /** The durable LSN when the batch was collected: what was superseded by then is not in it. */
  #batchDurableLsn = 0;
  #batchRunning = false;
  #order: Int32Array;
  #orderCount = 0;
  #cursor = 0;
  #inFlight = 0;
  readonly #runStart: Int32Array;
  readonly #runCount: Int32Array;
  readonly #segments: Uint32Array;

  constructor(media: Media, log: Log) {
    this.#media = media;
    this.#log = log;
    this.#port = media.io.port((run, result) => this.#onApplied(run, result));
    const slots = log.memoryBlocks;
    this.#block = new Float64Array(slots);
    this.#lsn = new Float64Array(slots);
    this.#superseded = new Float64Array(slots);
    this.#next = new Int32Array(slots);
    let buckets = 64;
    while (buckets < slots * 2) buckets *= 2;
    this.#buckets = new Int32Array(buckets).fill(NONE);
    this.#mask = buckets - 1;
    this.#appliedLsn = log.sealedLsn;
    this.#order = new Int32Array(slots);
    this.#runStart = new Int32Array(APPLIES_IN_FLIGHT_MAX);
    this.#runCount = new Int32Array(APPLIES_IN_FLIGHT_MAX);
    this.#segments = new Uint32Array(2 * MERGE_BLOCKS_MAX);
  }

  get appliedLsn(): number {
    return this.#appliedLsn;
  }

  get running(): boolean {
    return this.#batchRunning;
  }

  /** The newest slot for `driveBlock`, or -1. Its bytes are at log.blockAddress(slot), until the next return to the reactor. */
  find(driveBlock: number): number {
    for (let slot = this.#buckets[this.#place(driveBlock)] ?? NONE; slot !== NONE;) {
      if (this.#block[slot] === driveBlock)
        return this.#superseded[slot] === Infinity ? slot : NONE;
      slot = this.#next[slot] ?? NONE;
    }
    return NONE;
  }

  /** Whether a slot for `driveBlock`, superseded or not, is being or may yet be written to its place. */
  mayBeApplied(driveBlock: number): boolean {
    const durable = this.#log.durableLsn;
    for (let slot = this.#buckets[this.#place(driveBlock)] ?? NONE; slot !== NONE;) {
      if (this.#block[slot] === driveBlock) {
        const superseded = this.#superseded[slot] ?? 0;
        const inBatch =
          this.#batchRunning &&
          (this.#lsn[slot] ?? 0) <= this.#batchLsn &&
          superseded > this.#batchDurableLsn;
        if (superseded > durable || inBatch) return true;
      }
      slot = this.#next[slot] ?? NONE;
    }
    return false;
  }

  /** Slot `slot` of frame `lsn` is the newest content of `driveBlock`. */
  add(slot: number, driveBlock: number, lsn: number): void {
    this.supersede(driveBlock, lsn);
    this.#block[slot] = driveBlock;
    this.#lsn[slot] = lsn;
    this.#superseded[slot] = Infinity;
    const bucket = this.#place(driveBlock);
    this.#next[slot] = this.#buckets[bucket] ?? NONE;
    this.#buckets[bucket] = slot;
  }

  /** Frame `lsn` made what `driveBlock` held before meaningless: it was rewritten, trimmed or its cell freed. */
  supersede(driveBlock: number, lsn: number): void {
    const slot = this.find(driveBlock);
    if (slot !== NONE) this.#superseded[slot] = lsn;
  }

  #place(driveBlock: number): number {
    return (Math.imul(driveBlock | 0, 0x9e3779b1) >>> 8) & this.#mask;
  }

  /** Starts applying everything that is durable, unless a batch is under way. */
  start(): void {
    if (this.#batchRunning || this.#media.fault !== undefined) return;
    const { durableLsn } = this.#log;
    if (durableLsn <= this.#appliedLsn) return;
    this.#batchLsn = this.#batchEnd(durableLsn);
    this.#batchDurableLsn = durableLsn;
    this.#collect(this.#batchLsn, durableLsn);
    this.#cursor = 0;
    this.#batchRunning = true;
    this.#pump();
  }

  /** The last frame of the next batch. */
  #batchEnd(durableLsn: number): number {
    let blocks = 0;
    let lsn = Math.max(this.#appliedLsn, this.#log.oldestLsn - 1);
    while (lsn < durableLsn && blocks < BATCH_BLOCKS_MAX) blocks += this.#log.payloadOf(++lsn)[1];
    return lsn;
  }

  /** The slots of frames up to `end` that must be written, sorted by place; those superseded durably are released. */
  #collect(end: number, durable: number): void {
    this.#orderCount = 0;
    const released: number[] = [];
    for (let lsn = Math.max(this.#appliedLsn + 1, this.#log.oldestLsn); lsn <= end; lsn++) {
      const [first, count] = this.#log.payloadOf(lsn);
      for (let slot = first; slot < first + count; slot++) {
        if ((this.#superseded[slot] ?? 0) <= durable) released.push(slot);
        else this.#order[this.#orderCount++] = slot;
      }
    }
    for (const slot of released) this.#release(slot);
    const order = this.#order.subarray(0, this.#orderCount);
    order.sort((a, b) => (this.#block[a] ?? 0) - (this.#block[b] ?? 0));
  }

  #pump(): void {
    const limit = this.#inFlightLimit();
    // In bursts: writes that are submitted together cost a third of the CPU of as many single ones.
    if (this.#inFlight * 4 > limit && this.#cursor < this.#orderCount) return;
    while (this.#inFlight < limit && this.#cursor < this.#orderCount) {
      let run = 0;
      while ((this.#runCount[run] ?? 0) > 0) run++;
      this.#submitRun(run);
    }
    if (this.#inFlight > 0 || this.#cursor < this.#orderCount) return;
    this.#batchRunning = false;
    this.#appliedLsn = this.#batchLsn;
  }

  #inFlightLimit(): number {
    const used = this.#log.memoryUsedBlocks / this.#log.memoryBlocks;
    const scale = Math.max(0, Math.min(1, (used - 0.4) * 3));
    return Math.round(
      APPLIES_IN_FLIGHT_MIN + scale * (APPLIES_IN_FLIGHT_MAX - APPLIES_IN_FLIGHT_MIN),
    );
  }

  #submitRun(run: number): void {
    const start = this.#cursor;
    const firstBlock = this.#block[this.#order[start] ?? 0] ?? 0;
    let count = 0;
    while (
      count < MERGE_BLOCKS_MAX &&
      count < SEGMENT_COUNT_MAX &&
      start + count < this.#orderCount &&
      this.#block[this.#order[start + count] ?? 0] === firstBlock + count
    ) {
      this.#segments[count * 2] = this.#log.blockAddress(this.#order[start + count] ?? 0);
      this.#segments[count * 2 + 1] = BLOCK_BYTES;
      count++;
    }
    this.#cursor += count;
    this.#runStart[run] = start;
    this.#runCount[run] = count;
    this.#inFlight++;
    this.#media.counters.appliedBlocks += count;
    const position = firstBlock * BLOCK_BYTES;
    if (count === 1) {
      this.#media.io.write(
        this.#port,
        run,
        this.#media.fd,
        position,
        this.#segments[0] ?? 0,
        BLOCK_BYTES,
      );
    } else {
      this.#media.io.writev(this.#port, run, this.#media.fd, position, this.#segments, 0, count);
    }
  }

  #onApplied(run: number, result: number): void {
    const start = this.#runStart[run] ?? 0;
    const count = this.#runCount[run] ?? 0;
    this.#runCount[run] = 0;
    this.#inFlight--;
    this.#media.activity++;
    // A short write is not gone on with: the drive is failing, and the log still has the content.
    if (result !== count * BLOCK_BYTES) {
      this.#media.stop(`write of logged content to its place failed (${result})`);
      return;
    }
    for (let at = start; at < start + count; at++) this.#release(this.#order[at] ?? 0);
    this.#pump();
  }

  #release(slot: number): void {
    const bucket = this.#place(this.#block[slot] ?? 0);
    if (this.#buckets[bucket] === slot) {
      this.#buckets[bucket] = this.#next[slot] ?? NONE;
    } else {
      let before = this.#buckets[bucket] ?? NONE;
      while (this.#next[before] !== slot) before = this.#next[before] ?? NONE;
      this.#next[before] = this.#next[slot] ?? NONE;
    }
    this.#log.release(this.#lsn[slot] ?? 0);
  }
}
