/**
 * Writes dirty metadata pages to their unreferenced copies. A batch is copied first, then waits until the newest change in it is
 * durable, then is written (drive-store.md, O7): hot pages that change all the time are written without stopping anyone.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { readReadable } from './exact.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Directory } from './directory.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';
import { DIRECTORY_MAGIC, PAGE_ENTRIES, PAGE_MAGIC, isPage, sealPage } from './page-format.ts';

/** 256 KiB of copies. */
const BATCH_PAGES = 64;
/** Pages compared at once: both copies of one chunk's. */
const COMPARED_PAGES = BATCH_PAGES / 2;

export type PageWriterOptions = {
  readonly directory: Directory;
  readonly cache: PageCache;
  readonly ioAsync: IoAsync;
  /** Resolves once frame `lsn` is durable. Rejects when the drive has stopped. */
  readonly whenDurable: (lsn: number) => Promise<void>;
};

export class PageWriter {
  readonly #media: Media;
  readonly #options: PageWriterOptions;
  readonly #staging: number;
  /** The first page whose copies have not been compared since the drive was opened. */
  #uncompared = 0;

  constructor(media: Media, options: PageWriterOptions) {
    this.#media = media;
    this.#options = options;
    this.#staging = media.arena.reserve(BATCH_PAGES * BLOCK_BYTES, BLOCK_BYTES);
  }

  /** Writes every page that is dirty when it is reached, each at most once. Not to be called while it runs. */
  async writeAll(): Promise<void> {
    const { cache } = this.#options;
    for (let from = 0; from < cache.frameCount;) {
      const frames = cache.dirtyFrames(from, BATCH_PAGES);
      if (frames.length === 0) return;
      await this.#writeBatch(frames);
      from = (frames.at(-1) ?? from) + 1;
    }
  }

  async #writeBatch(frames: readonly number[]): Promise<void> {
    const { cache, directory, whenDurable } = this.#options;
    const { bytes } = this.#media;
    let newest = 0;
    const pages = frames.map((frame, index) => {
      const page = cache.pageOf(frame);
      const address = this.#staging + index * BLOCK_BYTES;
      const lsn = cache.lsnOf(frame);
      newest = Math.max(newest, lsn);
      bytes.copyWithin(address, cache.addressOf(frame), cache.addressOf(frame) + BLOCK_BYTES);
      const generation = directory.generation(page) + 1;
      sealPage(this.#media, address, { magic: PAGE_MAGIC, page, generation, lsn });
      return { frame, page, address, generation, version: cache.versionOf(frame) };
    });
    await whenDurable(newest);
    await Promise.all(
      pages.map(async ({ frame, page, address, generation, version }) => {
        const copy = directory.writableCopy(page);
        await this.#write(this.#media.geometry.pageBlock(page, copy), address);
        directory.wrote(page, generation, copy);
        cache.written(frame, version);
      }),
    );
    this.#media.counters.pagesWritten += pages.length;
  }

  async #write(block: number, address: number): Promise<void> {
    await this.#options.ioAsync.write(this.#media.fd, block * BLOCK_BYTES, {
      address: address,
      lengthBytes: BLOCK_BYTES,
    });
  }

  /** Writes the changed pages of the directory itself as part of checkpoint `n`; returns which. */
  async writeDirectory(n: number): Promise<readonly number[]> {
    const { directory } = this.#options;
    const changed = [...directory.dirty];
    directory.dirty.clear();
    for (let from = 0; from < changed.length; from += BATCH_PAGES) {
      const batch = changed.slice(from, from + BATCH_PAGES);
      await Promise.all(batch.map((index, place) => this.#writeDirectoryPage(index, n, place)));
    }
    return changed;
  }

  /** After the checkpoint that wrote them: their other copies become equal. */
  async mirrorDirectory(indexes: readonly number[]): Promise<void> {
    const { directory, ioAsync } = this.#options;
    const range = { address: this.#staging, lengthBytes: BLOCK_BYTES, bytes: this.#media.bytes };
    for (const index of new Set([...indexes, ...directory.halves])) {
      directory.halves.delete(index);
      const copy = directory.pageCopies[index] ?? 0;
      const from = this.#media.geometry.directoryBlock(index, copy) * BLOCK_BYTES;
      await readReadable(ioAsync, this.#media.fd, from, range);
      const generation = directory.pageGenerations[index] ?? 0;
      const expected = { magic: DIRECTORY_MAGIC, page: index, generation };
      if (!isPage(this.#media, this.#staging, expected)) continue;
      await this.#write(this.#media.geometry.directoryBlock(index, copy ^ 1), this.#staging);
    }
  }

  async #writeDirectoryPage(index: number, n: number, place: number): Promise<void> {
    const { directory } = this.#options;
    const address = this.#staging + place * BLOCK_BYTES;
    const w = address >>> 2;
    this.#media.words.fill(0, w, w + BLOCK_BYTES / 4);
    this.#media.words.set(directory.entriesOf(index), w + PAGE_ENTRIES);
    sealPage(this.#media, address, {
      magic: DIRECTORY_MAGIC,
      page: index,
      generation: n >>> 0,
      lsn: n,
    });
    const written = directory.pageGenerations[index] ?? 0;
    const copy = written === 0 ? 0 : (directory.pageCopies[index] ?? 0) ^ 1;
    await this.#write(this.#media.geometry.directoryBlock(index, copy), address);
    directory.pageGenerations[index] = n;
    directory.pageCopies[index] = copy;
  }

  /**
   * Makes the two copies of up to `limit` pages equal, so that rot in one heals from the other. Only between checkpoints: the copy that
   * is overwritten must not be referenced. Returns how many it did.
   */
  async mirror(limit: number): Promise<number> {
    const { directory } = this.#options;
    const pages = directory.unmirrored(Math.min(limit, BATCH_PAGES));
    for (const page of pages) {
      const referenced = directory.copy(page);
      let good: number | undefined;
      if (await this.#isGoodCopy(page, referenced)) good = referenced;
      else if (await this.#isGoodCopy(page, referenced ^ 1)) good = referenced ^ 1;
      directory.mirrored(page);
      // Rot in both copies is left for the reader, who says so.
      if (good === undefined) continue;
      if (directory.copy(page) !== good) {
        directory.preferOther(page);
        this.#media.counters.pagesHealed++;
      }
      await this.#write(this.#media.geometry.pageBlock(page, good ^ 1), this.#staging);
      directory.mirrored(page);
    }
    return pages.length;
  }

  /**
   * Compares the copies of the next pages that lie side by side, and marks those of which one is older or rotten. Which pages a process had
   * not mirrored yet when it died is written nowhere, and rot in a copy that nobody reads shows itself to nobody else. Only between
   * checkpoints. Returns how many it marked, or undefined once it has been through all pages.
   */
  async compareCopies(): Promise<number | undefined> {
    const { directory, ioAsync } = this.#options;
    const media = this.#media;
    const { first, count } = this.#nextRun();
    this.#uncompared = first + count;
    if (count === 0) return undefined;
    const addresses = [0, 1].map((copy) => this.#staging + copy * COMPARED_PAGES * BLOCK_BYTES);
    await Promise.all(
      addresses.map((address, copy) =>
        readReadable(ioAsync, media.fd, media.geometry.pageBlock(first, copy) * BLOCK_BYTES, {
          address,
          lengthBytes: count * BLOCK_BYTES,
          bytes: media.bytes,
        }),
      ),
    );
    let marked = 0;
    for (let index = 0; index < count; index++) {
      const page = first + index;
      const expected = { magic: PAGE_MAGIC, page, generation: directory.generation(page) };
      const [a, b] = addresses.map((at) => isPage(media, at + index * BLOCK_BYTES, expected));
      // Rot in both copies is left for the reader, who says so.
      if (a === b) continue;
      directory.unmirror(page);
      marked++;
    }
    return marked;
  }

  /** Pages from the first one on that was ever written, as they follow each other on the drive. */
  #nextRun(): { readonly first: number; readonly count: number } {
    const { geometry } = this.#media;
    const { directory } = this.#options;
    let first = this.#uncompared;
    while (first < geometry.pageCount && directory.generation(first) === 0) first++;
    let count = 0;
    const follows = (page: number): boolean =>
      geometry.pageBlock(page, 0) === geometry.pageBlock(first, 0) + page - first;
    while (count < COMPARED_PAGES && first + count < geometry.pageCount && follows(first + count))
      count++;
    return { first, count };
  }

  /** Reads one copy of a page into the staging; whether it is what the directory knows. */
  async #isGoodCopy(page: number, copy: number): Promise<boolean> {
    const { directory, ioAsync } = this.#options;
    const generation = directory.generation(page);
    const from = this.#media.geometry.pageBlock(page, copy) * BLOCK_BYTES;
    const range = { address: this.#staging, lengthBytes: BLOCK_BYTES, bytes: this.#media.bytes };
    await readReadable(ioAsync, this.#media.fd, from, range);
    assert(
      directory.generation(page) === generation,
      'no page is written while pages are mirrored',
    );
    return isPage(this.#media, this.#staging, { magic: PAGE_MAGIC, page, generation });
  }
}
