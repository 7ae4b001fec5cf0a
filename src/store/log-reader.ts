/** Reads the frames of a log ring from its tail, following the chain, and tells the log's end from damage. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { readExact } from './exact.ts';
import type { IoAsync } from '../env/io-async.ts';
import { FRAME_MAGIC, FRAME_RECORD_WORDS_MAX } from './frame-format.ts';
import type { Media } from './media.ts';
import { getU64, type Superblock } from './superblock.ts';

/** 1 MiB: the largest frame, and the unit of reading ahead. */
const WINDOW_BLOCKS = 256;
/**
 * How far past the end frames of this opening are looked for. A frame that claims the bad one as durable comes at most after what
 * may be unflushed (32 MiB and four frames) plus the next mark; twice that.
 */
const SCAN_BLOCKS_MAX = 2 * 9216;

export type Frame = {
  /** Ring block of the header. */
  readonly block: number;
  readonly blocks: number;
  readonly lsn: number;
  readonly checksum: number;
  readonly durableLsn: number;
  readonly checkpoint: number;
};

/** hole: a frame is missing that was durable; stale: the superblock is not the drive's newest. */
export type LogDamage = { readonly kind: 'hole' | 'stale'; readonly problem: string };

export type LogScan = {
  readonly frames: readonly Frame[];
  /** The highest LSN that some frame says is durable. */
  readonly durableLsn: number;
  /** Where the next frame goes. */
  readonly endBlock: number;
  /** Why this is not a log that simply ended, or undefined. */
  readonly damage: LogDamage | undefined;
};

export class LogReader {
  readonly #media: Media;
  readonly #ioAsync: IoAsync;
  readonly #window: number;
  #windowStart = -1;

  /** `window`: WINDOW_BLOCKS blocks of arena memory for the reader's use. */
  constructor(media: Media, ioAsync: IoAsync, window: number) {
    this.#media = media;
    this.#ioAsync = ioAsync;
    this.#window = window;
  }

  /** Follows the chain from the superblock's tail. */
  async scan(superblock: Superblock): Promise<LogScan> {
    const frames: Frame[] = [];
    let durableLsn = Math.max(superblock.tailLsn - 1, superblock.marksLsn);
    let block = superblock.tailBlock;
    let chain = superblock.tailChain;
    for (let lsn = superblock.tailLsn; ; lsn++) {
      const frame = await this.#next(superblock, block, { lsn, chain });
      if (frame === undefined) break;
      if (frame.checkpoint > superblock.n) {
        return { frames, durableLsn, endBlock: block, damage: stale(superblock, frame) };
      }
      frames.push(frame);
      durableLsn = Math.max(durableLsn, frame.durableLsn);
      chain = frame.checksum;
      block = frame.block + frame.blocks;
    }
    const nextLsn = superblock.tailLsn + frames.length;
    const damage = await this.#damage(superblock, block, nextLsn);
    return { frames, durableLsn, endBlock: block, damage };
  }

  /** The frame expected at `block`, or at the ring's start where it did not fit. */
  async #next(
    superblock: Superblock,
    block: number,
    expected: { readonly lsn: number; readonly chain: number },
  ): Promise<Frame | undefined> {
    for (const at of block === 0 ? [0] : [block, 0]) {
      if (at >= superblock.layout.logBlocks) continue;
      const frame = await this.#frameAt(superblock, at);
      const w = await this.header(at);
      if (frame === undefined || frame.lsn !== expected.lsn || !this.#isSalted(superblock, w))
        continue;
      if (((this.#media.words[w + 12] ?? 0) | 0) === expected.chain) return frame;
    }
    return undefined;
  }

  /** The word index of the block at ring block `at`, in a window of memory that the next call may overwrite. */
  async header(at: number): Promise<number> {
    const { logStart, logBlocks } = this.#media.geometry.layout;
    if (
      this.#windowStart < 0 ||
      at < this.#windowStart ||
      at >= this.#windowStart + WINDOW_BLOCKS
    ) {
      const count = Math.min(WINDOW_BLOCKS, logBlocks - at);
      await readExact(this.#ioAsync, this.#media.fd, (logStart + at) * BLOCK_BYTES, {
        address: this.#window,
        lengthBytes: count * BLOCK_BYTES,
      });
      this.#windowStart = at;
      this.#media.words.fill(
        0,
        (this.#window + count * BLOCK_BYTES) >>> 2,
        (this.#window + WINDOW_BLOCKS * BLOCK_BYTES) >>> 2,
      );
    }
    return (this.#window + (at - this.#windowStart) * BLOCK_BYTES) >>> 2;
  }

  /** A copy of the records of a frame, header included (records start at word 16). */
  async records(frame: Frame): Promise<Uint32Array> {
    const w = await this.header(frame.block);
    return this.#media.words.slice(w, w + BLOCK_BYTES / 4);
  }

  async #frameAt(superblock: Superblock, at: number): Promise<Frame | undefined> {
    const w = await this.header(at);
    const { words, uuid32, checksum } = this.#media;
    if (words[w] !== FRAME_MAGIC || words[w + 2] !== uuid32) return undefined;
    const stored = (words[w + 1] ?? 0) | 0;
    words[w + 1] = 0;
    const computed = checksum(w * 4, BLOCK_BYTES, uuid32, words[w + 4] ?? 0);
    words[w + 1] = stored;
    if (stored !== computed) return undefined;
    const blocks = words[w + 3] ?? 0;
    const recordWords = words[w + 13] ?? 0;
    if (blocks < 1 || at + blocks > superblock.layout.logBlocks) return undefined;
    if (recordWords > FRAME_RECORD_WORDS_MAX) return undefined;
    return {
      block: at,
      blocks,
      lsn: getU64(words, w + 6),
      checksum: stored,
      durableLsn: getU64(words, w + 10),
      checkpoint: getU64(words, w + 8),
    };
  }

  #isSalted(superblock: Superblock, w: number): boolean {
    const { words } = this.#media;
    return words[w + 4] === superblock.saltLow && words[w + 5] === superblock.saltHigh;
  }

  /** Looks past the end for a frame that says that what is missing was durable, or that this superblock is not the newest. */
  async #damage(
    superblock: Superblock,
    end: number,
    nextLsn: number,
  ): Promise<LogDamage | undefined> {
    const { logBlocks } = superblock.layout;
    const limit = Math.min(SCAN_BLOCKS_MAX, logBlocks);
    for (let step = 0; step < limit; step++) {
      const at = (end + step) % logBlocks;
      const frame = await this.#frameAt(superblock, at);
      if (frame === undefined) continue;
      // Of whatever opening: the salt of a newer one is not known here.
      if (frame.checkpoint > superblock.n) return stale(superblock, frame);
      if (!this.#isSalted(superblock, await this.header(at))) continue;
      if (frame.lsn > nextLsn && frame.durableLsn >= nextLsn) {
        const problem = `frame ${nextLsn} is missing or rotten, though frame ${frame.lsn} says that it was durable`;
        return { kind: 'hole', problem };
      }
    }
    if (nextLsn <= superblock.marksLsn) {
      const problem = `frame ${nextLsn} is missing or rotten, though superblock ${superblock.n} says that frames up to ${superblock.marksLsn} were durable`;
      return { kind: 'hole', problem };
    }
    return undefined;
  }
}

function stale(superblock: Superblock, frame: Frame): LogDamage {
  return {
    kind: 'stale',
    problem: `superblock ${superblock.n} is older than checkpoint ${frame.checkpoint}, which frame ${frame.lsn} builds on`,
  };
}
