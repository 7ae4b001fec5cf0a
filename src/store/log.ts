/**
 * The log: frames are built in a ring of arena memory, written to the ring on the drive, and stay in memory as long as
 * payload in them is not yet applied.
 *
 * Invariants:
 *  1. writtenLsn: every frame up to it has completed. settledLsn: and so have the direct data writes that belong to them.
 *  2. durableLsn <= settledLsn: a flush makes durable what was settled when it was *submitted*.
 *  3. Ring space of a frame is reused only after a durable superblock whose tail lies behind it.
 *  4. User changes leave RESERVE blocks, so that trims and checkpoints go on when the log is full.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import type { Port } from '../env/io.ts';
import { FRAME_MAGIC, FRAME_RECORDS, FRAME_RECORD_WORDS_MAX } from './frame-format.ts';
import { LogRing } from './log-ring.ts';
import type { LogOptions, LogPosition, LogStart } from './log-start.ts';
import type { Media } from './media.ts';
import { setU64 } from './superblock.ts';

/** Frames on their way to the drive. A slow one stalls the acknowledgements behind it, so few and small. */
export const FRAMES_IN_FLIGHT_MAX = 4;
/**
 * A frame with this much payload goes at once: were all writes of a deep queue in one frame, they would travel as one convoy,
 * the drive idle while the CPU works and the other way round.
 */
const EAGER_PAYLOADS = 8;
/** Log kept for trims, the volume table and marks when user writes wait: this many frames of the largest size. */
const RESERVE_FRAMES = 2;

/** What the log tells the store. Called from completions; may append. */
export type LogEvents = {
  /** Every frame up to `lsn` has completed. */
  readonly onWritten: (lsn: number) => void;
  /** settledLsn rose. */
  readonly onSettled: () => void;
  /** Memory, ring space or a place in flight came free: waiting changes may try again. */
  readonly onRoom: () => void;
};

export class Log {
  readonly #media: Media;
  readonly #port: Port;
  readonly #events: LogEvents;
  readonly #memory: number;
  readonly #memoryBlocks: number;
  readonly #frameBlocksMax: number;
  readonly #capacity: number;
  // By lsn % capacity.
  readonly #start: Int32Array;
  readonly #blocks: Int32Array;
  readonly #live: Int32Array;
  readonly #dataPending: Int32Array;
  readonly #completed: Uint8Array;
  readonly #ringBlock: Int32Array;
  /** Bytes written so far of a frame that the drive took in pieces. */
  readonly #progress: Int32Array;
  /** Blocks of memory skipped before a frame that did not fit the end of the memory. */
  readonly #skipped: Int32Array;
  /** Memory: frames from #oldestLsn to #sealedLsn lie one after the other, cyclically, up to #memoryHead. */
  #memoryHead = 0;
  #memoryUsed = 0;
  #oldestLsn: number;
  #sealedLsn: number;
  #writtenLsn: number;
  #settledLsn: number;
  durableLsn: number;
  /** The durable LSN that the newest frame carries to the next recovery. */
  #carriedLsn: number;
  #inFlight = 0;
  // The open frame.
  #openStart = -1;
  #openWords = 0;
  #openIsDirty = false;
  #openPayloads = 0;
  /** Blocks of memory that it may grow to. */
  #openSize = 0;
  #openData = 0;
  #openSkipped = 0;
  readonly #ring: LogRing;
  #chain: number;
  readonly #saltLow: number;
  readonly #saltHigh: number;
  checkpoint: number;
  /** Blocks of the ring kept for the marks of two checkpoints: one that a crash interrupted, and recovery's. */
  marksRoom = 0;
  /** The newest frame that changes something: marks do not. */
  dirtyLsn: number;
  /** Bytes of frames and direct data since the start; the flush takes the difference. */
  dirtyBytes = 0;

  constructor(
    media: Media,
    options: LogOptions & { readonly start: LogStart; readonly events: LogEvents },
  ) {
    this.#media = media;
    this.#events = options.events;
    this.#port = media.io.port((index, result) => this.#onWritten(index, result));
    this.#memory = media.arena.reserve(options.memoryBlocks * BLOCK_BYTES, BLOCK_BYTES);
    this.#memoryBlocks = options.memoryBlocks;
    this.#frameBlocksMax = options.frameBlocksMax;
    assert(
      options.memoryBlocks >= 2 * options.frameBlocksMax,
      'memory holds two of the largest frames',
    );
    assert(
      media.geometry.layout.logBlocks >= (RESERVE_FRAMES + 10) * options.frameBlocksMax,
      'the ring holds the reserve and, before a checkpoint is due at a quarter of it, some frames',
    );
    this.#capacity = options.memoryBlocks + 1;
    this.#start = new Int32Array(this.#capacity);
    this.#blocks = new Int32Array(this.#capacity);
    this.#live = new Int32Array(this.#capacity);
    this.#dataPending = new Int32Array(this.#capacity);
    this.#completed = new Uint8Array(this.#capacity);
    this.#ringBlock = new Int32Array(this.#capacity);
    this.#progress = new Int32Array(this.#capacity);
    this.#skipped = new Int32Array(this.#capacity);
    const { start } = options;
    const last = start.nextLsn - 1;
    this.#oldestLsn = start.nextLsn;
    this.#sealedLsn = last;
    this.#writtenLsn = last;
    this.#settledLsn = last;
    this.durableLsn = last;
    this.#carriedLsn = last;
    this.dirtyLsn = last;
    this.#ring = new LogRing(media.geometry.layout.logBlocks, start.headBlock);
    this.#chain = start.chain;
    this.#saltLow = start.saltLow;
    this.#saltHigh = start.saltHigh;
    this.checkpoint = start.checkpoint;
  }

  /** The LSN that the records appended now will have. */
  get openLsn(): number {
    return this.#sealedLsn + 1;
  }
  get sealedLsn(): number {
    return this.#sealedLsn;
  }
  get writtenLsn(): number {
    return this.#writtenLsn;
  }
  get settledLsn(): number {
    return this.#settledLsn;
  }
  get oldestLsn(): number {
    return this.#oldestLsn;
  }
  get frameBlocksMax(): number {
    return this.#frameBlocksMax;
  }
  /** Whether nothing is open or under way. */
  get idle(): boolean {
    return this.#openStart < 0 && this.#writtenLsn === this.#sealedLsn;
  }
  /** Blocks of the ring between the tail and the head. */
  get usedBlocks(): number {
    return this.#ring.usedBlocks;
  }
  get memoryUsedBlocks(): number {
    return this.#memoryUsed;
  }
  /** Blocks of memory of the frames after `lsn`. */
  memoryBlocksAfter(lsn: number): number {
    if (lsn >= this.#sealedLsn) return 0;
    if (lsn < this.#oldestLsn) return this.#memoryUsed;
    const from = this.#start[(lsn + 1) % this.#capacity] ?? 0;
    return (this.#memoryHead - from + this.#memoryBlocks) % this.#memoryBlocks;
  }
  get memoryBlocks(): number {
    return this.#memoryBlocks;
  }

  /**
   * Whether a record of `recordWords` with `payloadBlocks` can be appended now; opens or seals a frame for it. `privileged` changes
   * may use the reserve. All of one change goes into one frame: reserve for the whole, then append.
   */
  reserve(recordWords: number, payloadBlocks: number, privileged: boolean): boolean {
    assert(recordWords <= FRAME_RECORD_WORDS_MAX, 'one change fits a header block');
    assert(payloadBlocks < this.#frameBlocksMax, 'one change fits a frame');
    if (this.#openStart >= 0) {
      const fits =
        this.#openWords + recordWords <= FRAME_RECORD_WORDS_MAX &&
        1 + this.#openPayloads + payloadBlocks <= this.#openSize;
      if (fits) return privileged || this.#ringHasRoom(false);
      if (!this.seal()) return false;
    }
    return this.#ringHasRoom(privileged) && this.#open(this.#frameBlocksMax);
  }

  /** As {@link reserve}, for marks that a checkpoint logs again: a frame of one block, from the room that was kept for them. */
  reserveMarks(recordWords: number): boolean {
    if (this.#openStart >= 0) {
      if (this.#openWords + recordWords <= FRAME_RECORD_WORDS_MAX) return true;
      if (!this.seal()) return false;
    }
    return this.#ring.hasRoom(1) && this.#open(1);
  }

  #ringHasRoom(privileged: boolean): boolean {
    const keep = (privileged ? 1 : RESERVE_FRAMES + 1) * 2 * this.#frameBlocksMax;
    return this.#ring.hasRoom(keep + this.marksRoom);
  }

  #open(size: number): boolean {
    let start = this.#memoryHead;
    let skipped = 0;
    if (start + size > this.#memoryBlocks) {
      skipped = this.#memoryBlocks - start;
      start = 0;
    }
    if (this.#memoryUsed + skipped + size > this.#memoryBlocks) return false;
    this.#memoryUsed += skipped;
    this.#openStart = start;
    this.#openSkipped = skipped;
    this.#openSize = size;
    this.#openWords = 0;
    this.#openIsDirty = false;
    this.#openPayloads = 0;
    this.#openData = 0;
    return true;
  }
  /** Whether the drive's log does not yet say how far it is durable. */
  get markBehind(): boolean {
    return this.durableLsn > this.#carriedLsn;
  }

  /** Appends an empty frame that carries durableLsn (H7: a hole below it is damage, not the log's end). */
  mark(): void {
    // Its one block fits where a frame that may grow does not.
    if (this.markBehind && this.idle && this.#ringHasRoom(true) && this.#open(1)) this.seal();
  }

  /** Appends a record's words, which the caller fills in; returns their index in the arena's words. `isChange`: a checkpoint is due for it. */
  appendRecord(recordWords: number, isChange = true): number {
    assert(this.#openStart >= 0, 'reserve before append');
    this.#openIsDirty ||= isChange;
    const at = (this.blockAddress(this.#openStart) >>> 2) + FRAME_RECORDS + this.#openWords;
    this.#openWords += recordWords;
    return at;
  }

  /** Appends a payload block, which the caller fills in; returns its block in log memory. */
  appendPayload(): number {
    const block = this.#openStart + 1 + this.#openPayloads;
    this.#openPayloads++;
    return block;
  }

  /** Sends the open frame on its way if it is worth it. */
  sealEagerly(): void {
    if (this.#openPayloads >= EAGER_PAYLOADS && this.seal()) this.#media.io.submit();
  }

  /** The open frame has one more direct data write, ended by {@link dataDone} with its LSN. */
  addData(lengthBytes: number): void {
    this.#openData++;
    this.dirtyBytes += lengthBytes;
  }

  dataDone(lsn: number): void {
    const slot = lsn % this.#capacity;
    if (lsn > this.#sealedLsn) {
      this.#openData--;
      return;
    }
    this.#dataPending[slot] = (this.#dataPending[slot] ?? 0) - 1;
    if (this.#dataPending[slot] === 0) this.#settle();
  }

  /** The arena address of a block of log memory. */
  blockAddress(block: number): number {
    return this.#memory + block * BLOCK_BYTES;
  }

  /** The frame's payload blocks are `live` until applied or superseded: see {@link release}. */
  release(lsn: number): void {
    const slot = lsn % this.#capacity;
    this.#live[slot] = (this.#live[slot] ?? 0) - 1;
    if (lsn === this.#oldestLsn) this.#reclaim();
  }

  /** First payload block in memory and number of payload blocks of a sealed frame. */
  payloadOf(lsn: number): readonly [number, number] {
    const slot = lsn % this.#capacity;
    return [(this.#start[slot] ?? 0) + 1, (this.#blocks[slot] ?? 1) - 1];
  }

  /** Seals the open frame, if there is one, and submits it; false while as many as may be are in flight. */
  seal(): boolean {
    if (this.#openStart < 0) return true;
    if (this.#inFlight >= FRAMES_IN_FLIGHT_MAX) return false;
    const lsn = this.openLsn;
    const slot = lsn % this.#capacity;
    const blocks = 1 + this.#openPayloads;
    const start = this.#openStart;
    this.#openStart = -1;
    this.#start[slot] = start;
    this.#blocks[slot] = blocks;
    this.#live[slot] = this.#openPayloads;
    this.#dataPending[slot] = this.#openData;
    this.#completed[slot] = 0;
    this.#memoryHead = start + blocks;
    this.#memoryUsed += blocks;
    this.#skipped[slot] = this.#openSkipped;
    this.#sealedLsn = lsn;
    if (this.#openIsDirty) {
      this.dirtyLsn = lsn;
      this.dirtyBytes += blocks * BLOCK_BYTES;
    }
    this.#ringBlock[slot] = this.#ring.take(blocks);
    this.#header(lsn, slot, blocks);
    this.#submit(slot, 0);
    return true;
  }

  #header(lsn: number, slot: number, blocks: number): void {
    const address = this.blockAddress(this.#start[slot] ?? 0);
    const w = address >>> 2;
    const { words } = this.#media;
    words[w] = FRAME_MAGIC;
    words[w + 1] = 0;
    words[w + 2] = this.#media.uuid32;
    words[w + 3] = blocks;
    words[w + 4] = this.#saltLow;
    words[w + 5] = this.#saltHigh;
    setU64(words, w + 6, lsn);
    setU64(words, w + 8, this.checkpoint);
    setU64(words, w + 10, this.durableLsn);
    this.#carriedLsn = this.durableLsn;
    words[w + 12] = this.#chain;
    words[w + 13] = this.#openWords;
    words.fill(0, w + 14, w + 16);
    words.fill(0, w + FRAME_RECORDS + this.#openWords, w + BLOCK_BYTES / 4);
    const checksum = this.#media.checksum(address, BLOCK_BYTES, this.#media.uuid32, this.#saltLow);
    words[w + 1] = checksum;
    this.#chain = checksum;
  }

  #submit(slot: number, doneBytes: number): void {
    const { io, fd, geometry, counters } = this.#media;
    const position = (geometry.layout.logStart + (this.#ringBlock[slot] ?? 0)) * BLOCK_BYTES;
    const length = (this.#blocks[slot] ?? 0) * BLOCK_BYTES;
    const address = this.blockAddress(this.#start[slot] ?? 0);
    if (doneBytes === 0) {
      this.#inFlight++;
      counters.frames++;
      counters.logBlocks += this.#blocks[slot] ?? 0;
    }
    this.#progress[slot] = doneBytes;
    io.write(this.#port, slot, fd, position + doneBytes, address + doneBytes, length - doneBytes);
  }
  #onWritten(slot: number, result: number): void {
    this.#media.activity++;
    if (result <= 0) {
      this.#inFlight--;
      this.#media.stop(`write to the log failed (${result})`);
      return;
    }
    const done = (this.#progress[slot] ?? 0) + result;
    if (done < (this.#blocks[slot] ?? 0) * BLOCK_BYTES) {
      this.#submit(slot, done);
      return;
    }
    this.#inFlight--;
    this.#completed[slot] = 1;
    const before = this.#writtenLsn;
    while (
      this.#writtenLsn < this.#sealedLsn &&
      this.#completed[(this.#writtenLsn + 1) % this.#capacity] === 1
    ) {
      this.#writtenLsn++;
    }
    if (this.#writtenLsn > before) {
      this.#events.onWritten(this.#writtenLsn);
      this.#settle();
      this.#reclaim();
    }
    this.#events.onRoom();
  }

  #settle(): void {
    const before = this.#settledLsn;
    while (
      this.#settledLsn < this.#writtenLsn &&
      this.#dataPending[(this.#settledLsn + 1) % this.#capacity] === 0
    ) {
      this.#settledLsn++;
    }
    if (this.#settledLsn > before) {
      this.#reclaim();
      this.#events.onSettled();
    }
  }

  /** Frees the memory of the oldest frames: written, their data written, their payload applied or superseded. */
  #reclaim(): void {
    let freed = false;
    while (
      this.#oldestLsn <= this.#settledLsn &&
      this.#live[this.#oldestLsn % this.#capacity] === 0
    ) {
      const slot = this.#oldestLsn % this.#capacity;
      this.#memoryUsed -= (this.#blocks[slot] ?? 0) + (this.#skipped[slot] ?? 0);
      this.#oldestLsn++;
      freed = true;
    }
    if (freed) this.#events.onRoom();
  }

  /** The tail that a checkpoint at the last sealed frame puts into its superblock. Nothing may be open. */
  position(): LogPosition {
    assert(this.#openStart < 0, 'a checkpoint starts after the last sealed frame');
    return { ...this.#ring.position(), lsn: this.#sealedLsn + 1, chain: this.#chain };
  }

  /** A superblock with this tail is durable: the ring before it is free. */
  releaseTo(position: LogPosition): void {
    this.#ring.releaseTo(position);
    this.#media.activity++;
    this.#events.onRoom();
  }
}
