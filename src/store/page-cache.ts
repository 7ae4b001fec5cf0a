/**
 * Metadata pages in memory: a fixed number of frames of 4 KiB in the arena, a clock for eviction.
 *
 * A page is found at once or asked for; whoever asked is called when it is there, and looks again. Nobody pins a page: code
 * that needs several looks for all of them in one go and uses them before it returns to the reactor.
 * A dirty page is evicted only after PageWriter wrote it out.
 */

import { assert } from '../lib/assert.ts';
import { IntMap } from '../lib/int-map.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import type { Port } from '../env/io.ts';
import type { Directory } from './directory.ts';
import { type Media, noteBad } from './media.ts';
import { isPage, PAGE_MAGIC } from './page-format.ts';

const FREE = 0;
const LOADING = 1;
const VALID = 2;
/** Both copies are rotten. The page stays known as such until it is replaced. */
const ROTTEN = 3;

/** Reads of one load: each copy once, and each once more where the drive gave an error. */
const READS_MAX = 4;

const NONE = -1;
/** No page, in a list of pages. */
export const NO_PAGE = NONE;

export type Found = 'missing' | 'rotten' | number;

export class PageCache {
  readonly #media: Media;
  readonly #directory: Directory;
  readonly #port: Port;
  readonly #base: number;
  readonly #frameCount: number;
  readonly #frames: IntMap;
  readonly #page: Int32Array;
  readonly #state: Uint8Array;
  readonly #recent: Uint8Array;
  /** Reads of this load that are over. */
  readonly #readCount: Uint8Array;
  /** 1: the drive gave an error for one of them. */
  readonly #isUnread: Uint8Array;
  /** 0 clean; otherwise grows with each change, so that a writer can tell whether its copy is still the newest. */
  readonly #version: Uint32Array;
  readonly #lsn: Float64Array;
  /** First waiter of a loading frame; the next one is in #nextWaiter. */
  readonly #waiters: Int32Array;
  readonly #nextWaiter: Int32Array;
  readonly #onReady: (waiter: number) => void;
  /** Those who found no frame free, woken when one may be. */
  #starved: number[] = [];
  #hand = 0;
  #dirtyCount = 0;

  /**
   * `waiterCount`: waiters are numbered below it. `onReady` is called for each waiter of a page that came, and for waiters of
   * a free frame; it must look again.
   */
  constructor(
    media: Media,
    directory: Directory,
    options: {
      readonly frameCount: number;
      readonly waiterCount: number;
      readonly onReady: (waiter: number) => void;
    },
  ) {
    this.#media = media;
    this.#directory = directory;
    this.#frameCount = options.frameCount;
    this.#onReady = options.onReady;
    this.#port = media.io.port((frame, result) => this.#onRead(frame, result));
    this.#base = media.arena.reserve(options.frameCount * BLOCK_BYTES, BLOCK_BYTES);
    this.#frames = new IntMap(options.frameCount);
    this.#page = new Int32Array(options.frameCount).fill(NONE);
    this.#state = new Uint8Array(options.frameCount);
    this.#recent = new Uint8Array(options.frameCount);
    this.#readCount = new Uint8Array(options.frameCount);
    this.#isUnread = new Uint8Array(options.frameCount);
    this.#version = new Uint32Array(options.frameCount);
    this.#lsn = new Float64Array(options.frameCount);
    this.#waiters = new Int32Array(options.frameCount).fill(NONE);
    this.#nextWaiter = new Int32Array(options.waiterCount).fill(NONE);
  }

  get frameCount(): number {
    return this.#frameCount;
  }

  get dirtyCount(): number {
    return this.#dirtyCount;
  }

  /**
   * The arena address of `page`, for use before the caller returns to the reactor; or starts loading it. Says 'missing' while it is not
   * there and 'rotten' when neither copy is good or could be read, or the drive has stopped and there is no room for it. A drive that
   * gave an error is asked again by the next who looks after those who waited.
   */
  find(page: number): Found {
    const frame = this.#frames.get(page);
    if (frame === NONE) return this.#load(page);
    this.#recent[frame] = 1;
    if (this.#state[frame] === VALID) return this.#base + frame * BLOCK_BYTES;
    return this.#state[frame] === ROTTEN ? 'rotten' : 'missing';
  }

  /** Finds several pages at once: NO_PAGE if all are there for use now, 'rotten' if one is, or one that is missing. */
  findAll(pages: Int32Array): 'rotten' | number {
    // All are asked for before the first wait, so that they come together; twice, because loading one may evict another where a cache is tiny.
    for (let look = 0; look < 2; look++) {
      for (const page of pages) {
        if (page !== NO_PAGE && this.find(page) === 'rotten') return 'rotten';
      }
    }
    // Where nearly all is dirty, even the second look may have evicted one for another.
    for (const page of pages) if (page !== NO_PAGE && !this.has(page)) return page;
    return NO_PAGE;
  }

  /** Whether `page` is here now. Loads nothing. */
  has(page: number): boolean {
    const frame = this.#frames.get(page);
    return frame !== NONE && this.#state[frame] === VALID;
  }

  /** Has `waiter` called when `page`, found missing just now, has come, or when a frame may be free for it. */
  wait(page: number, waiter: number): void {
    const frame = this.#frames.get(page);
    if (frame === NONE) {
      this.#starved.push(waiter);
      return;
    }
    assert(this.#state[frame] === LOADING, 'only a page under way is waited for');
    this.#nextWaiter[waiter] = this.#waiters[frame] ?? NONE;
    this.#waiters[frame] = waiter;
  }

  /** Marks `page`, present now, as changed by frame `lsn` of the log. */
  dirty(page: number, lsn: number): void {
    const frame = this.#frames.get(page);
    assert(frame !== NONE && this.#state[frame] === VALID, 'only a present page is changed');
    if (this.#version[frame] === 0) this.#dirtyCount++;
    this.#version[frame] = ((this.#version[frame] ?? 0) + 1) & 0x7fffffff || 1;
    this.#lsn[frame] = lsn;
  }

  /** Whether someone waits for a free frame: the writer must clean some. */
  get starving(): boolean {
    return this.#starved.length > 0;
  }

  /** Up to `limit` dirty pages, from `from` on in frame order, as frame numbers. */
  dirtyFrames(from: number, limit: number): number[] {
    const frames: number[] = [];
    for (let frame = from; frame < this.#frameCount && frames.length < limit; frame++) {
      if (this.#version[frame] !== 0) frames.push(frame);
    }
    return frames;
  }

  pageOf(frame: number): number {
    return this.#page[frame] ?? NONE;
  }

  addressOf(frame: number): number {
    return this.#base + frame * BLOCK_BYTES;
  }

  lsnOf(frame: number): number {
    return this.#lsn[frame] ?? 0;
  }

  versionOf(frame: number): number {
    return this.#version[frame] ?? 0;
  }

  /** A copy made at `version` is on the drive: the frame is clean unless it changed since. */
  written(frame: number, version: number): void {
    if (this.#version[frame] !== version) return;
    this.#version[frame] = 0;
    this.#dirtyCount--;
    this.wakeStarved();
  }

  #load(page: number): Found {
    const frame = this.#evict();
    // On a drive that has stopped nothing is cleaned, and no frame comes free any more.
    if (frame === NONE) return this.#media.fault === undefined ? 'missing' : 'rotten';
    this.#page[frame] = page;
    this.#recent[frame] = 1;
    this.#frames.set(page, frame);
    if (this.#directory.generation(page) === 0) {
      const address = this.#base + frame * BLOCK_BYTES;
      this.#media.words.fill(0, address >>> 2, (address + BLOCK_BYTES) >>> 2);
      this.#state[frame] = VALID;
      return address;
    }
    this.#state[frame] = LOADING;
    this.#readCount[frame] = 0;
    this.#isUnread[frame] = 0;
    this.#read(frame, this.#directory.copy(page));
    return 'missing';
  }

  #read(frame: number, copy: number): void {
    const { io, fd, geometry } = this.#media;
    const position = geometry.pageBlock(this.#page[frame] ?? 0, copy) * BLOCK_BYTES;
    io.read(
      this.#port,
      frame * 2 + copy,
      fd,
      position,
      this.#base + frame * BLOCK_BYTES,
      BLOCK_BYTES,
    );
  }

  #onRead(index: number, result: number): void {
    this.#media.activity++;
    const frame = index >>> 1;
    const copy = index & 1;
    const page = this.#page[frame] ?? 0;
    const expected = { magic: PAGE_MAGIC, page, generation: this.#directory.generation(page) };
    const address = this.#base + frame * BLOCK_BYTES;
    const count = (this.#readCount[frame] ?? 0) + 1;
    this.#readCount[frame] = count;
    if (result !== BLOCK_BYTES) this.#isUnread[frame] = 1;
    const isUnread = this.#isUnread[frame] === 1;
    if (result === BLOCK_BYTES && isPage(this.#media, address, expected)) {
      if (copy !== this.#directory.copy(page)) {
        this.#directory.preferOther(page);
        this.#media.counters.pagesHealed++;
      }
      this.#state[frame] = VALID;
    } else if (count % 2 === 1 || (isUnread && count < READS_MAX)) {
      this.#read(frame, copy ^ 1);
      return;
    } else {
      const offsetBytes = this.#media.geometry.pageBlock(page, copy) * BLOCK_BYTES;
      const kind = isUnread ? 'read' : 'checksum';
      noteBad(this.#media, { kind, volume: undefined, offsetBytes });
      this.#state[frame] = ROTTEN;
    }
    this.#wake(frame);
    if (this.#state[frame] === ROTTEN && isUnread) this.#forget(frame);
    this.wakeStarved();
  }

  #wake(frame: number): void {
    let waiter = this.#waiters[frame] ?? NONE;
    this.#waiters[frame] = NONE;
    while (waiter !== NONE) {
      const next = this.#nextWaiter[waiter] ?? NONE;
      this.#onReady(waiter);
      waiter = next;
    }
  }

  /** Has those who found no frame free look again: one may be, or the drive has stopped. */
  wakeStarved(): void {
    if (this.#starved.length === 0) return;
    const starved = this.#starved;
    this.#starved = [];
    for (const waiter of starved) this.#onReady(waiter);
  }

  /** A frame without a page: a free one, or a clean one not used lately (the clock algorithm). */
  #evict(): number {
    for (let step = 0; step < this.#frameCount * 2; step++) {
      const frame = this.#hand;
      this.#hand = (this.#hand + 1) % this.#frameCount;
      if (this.#state[frame] === FREE) return frame;
      if (this.#state[frame] === LOADING || this.#version[frame] !== 0) continue;
      if (this.#recent[frame] === 1) {
        this.#recent[frame] = 0;
        continue;
      }
      this.#forget(frame);
      return frame;
    }
    return NONE;
  }

  #forget(frame: number): void {
    this.#frames.delete(this.#page[frame] ?? 0);
    this.#page[frame] = NONE;
    this.#state[frame] = FREE;
  }
}
