/**
 * Where things lie on a drive. All places are in blocks of 4096 bytes.
 *
 *     | SB0 | SB1 | log ring | directory A | directory B | table A | table B | chunk 0 | chunk 1 | … | SB0' | SB1' |
 *
 *     chunk: | metadata pages, copy A | metadata pages, copy B | pad to 64 KiB | cells of 64 KiB |
 *     metadata pages of a chunk: its owner pages, then its checksum pages
 *
 * A metadata page is named by one number: the table's pages come first, then chunk after chunk. The directory holds one
 * u32 for each: generation * 2 + copy (0 is A, 1 is B); 0 means never written.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';

export const EXTENT_BLOCKS = 16;
export const EXTENT_BYTES: number = EXTENT_BLOCKS * BLOCK_BYTES;
/** Every metadata page starts with a header of 64 bytes. 24-byte owner entries: (4096 - 64) / 24. */
export const OWNERS_PER_PAGE = 168;
/** Cells whose checksums fill a page: (4096 - 64) / 4 / 16. */
export const CELLS_PER_CHECKSUM_PAGE = 63;
/** Directory entries per page: (4096 - 64) / 4. */
export const ENTRIES_PER_DIRECTORY_PAGE = 1008;
/** 504-byte records per table page: (4096 - 64) / 504. */
export const RECORDS_PER_TABLE_PAGE = 8;
/** 1008 cells are 63 MiB: 6 owner pages and 16 checksum pages exactly. */
export const CELLS_PER_CHUNK = 1008;

/** What a superblock says of the layout; the rest follows from it. */
export type Layout = {
  readonly sizeBytes: number;
  readonly logStart: number;
  readonly logBlocks: number;
  readonly directoryStart: number;
  /** Pages of one copy. They cover the chunks that the drive may grow to. */
  readonly directoryPages: number;
  readonly tableStart: number;
  readonly tablePages: number;
  readonly chunkStart: number;
  readonly chunkCount: number;
  readonly cellsPerChunk: number;
};

/** What a caller may choose when it formats; tests choose small ones. */
export type LayoutOptions = {
  readonly sizeBytes: number;
  readonly logBytes?: number;
  readonly tablePages?: number;
  readonly cellsPerChunk?: number;
  /** Chunks the directory has room for. */
  readonly chunkCountMax?: number;
};

/** Log: 1/16 of the drive, 64 MiB to 512 MiB. Recovery reads at most this much, about 0.3 s. */
const LOG_BYTES_MIN = 64 * 1024 * 1024;
const LOG_BYTES_MAX = 512 * 1024 * 1024;
/** Growth: the directory is made for 64 times the first size, which costs 0.15 % of it, up to 64 TiB. */
const GROWTH_FACTOR = 64;
const CHUNK_COUNT_LIMIT = 1 << 20;

/** Computes the layout of a new drive, or undefined where not even one chunk fits. */
export function planLayout(options: LayoutOptions): Layout | undefined {
  const sizeBlocks = Math.floor(options.sizeBytes / BLOCK_BYTES);
  const cellsPerChunk = options.cellsPerChunk ?? CELLS_PER_CHUNK;
  const logBytes =
    options.logBytes ??
    Math.min(LOG_BYTES_MAX, Math.max(LOG_BYTES_MIN, Math.floor(options.sizeBytes / 16)));
  const tablePages =
    options.tablePages ?? Math.min(1024, Math.max(64, Math.floor(options.sizeBytes / 2 ** 24)));
  const pages = metaPagesPerChunk(cellsPerChunk);
  const chunkBlocks = chunkBlocksOf(cellsPerChunk);
  const chunkCountMax =
    options.chunkCountMax ??
    Math.min(
      CHUNK_COUNT_LIMIT,
      Math.max(1024, Math.ceil(sizeBlocks / chunkBlocks) * GROWTH_FACTOR),
    );
  const directoryPages = Math.ceil(
    (tablePages + chunkCountMax * pages) / ENTRIES_PER_DIRECTORY_PAGE,
  );
  const logBlocks = Math.floor(logBytes / BLOCK_BYTES);
  const directoryStart = 2 + logBlocks;
  const tableStart = directoryStart + 2 * directoryPages;
  const chunkStart = roundUp(tableStart + 2 * tablePages, EXTENT_BLOCKS);
  const chunkCount = Math.min(
    chunkCountMax,
    Math.floor((sizeBlocks - 2 - chunkStart) / chunkBlocks),
  );
  if (chunkCount < 1) return undefined;
  return {
    sizeBytes: sizeBlocks * BLOCK_BYTES,
    logStart: 2,
    logBlocks,
    directoryStart,
    directoryPages,
    tableStart,
    tablePages,
    chunkStart,
    chunkCount,
    cellsPerChunk,
  };
}

/** The layout after the drive grew to `sizeBytes`; the directory bounds it. */
export function growLayout(layout: Layout, sizeBytes: number): Layout {
  const geometry = new Geometry(layout);
  const sizeBlocks = Math.floor(sizeBytes / BLOCK_BYTES);
  const room = layout.directoryPages * ENTRIES_PER_DIRECTORY_PAGE - layout.tablePages;
  const chunkCountMax = Math.floor(room / geometry.pagesPerChunk);
  const fits = Math.floor((sizeBlocks - 2 - layout.chunkStart) / geometry.chunkBlocks);
  return {
    ...layout,
    sizeBytes: sizeBlocks * BLOCK_BYTES,
    chunkCount: Math.min(chunkCountMax, fits),
  };
}

/** The least size of a drive of this layout that has `chunkCount` chunks, in bytes. */
export function sizeWithChunks(layout: Layout, chunkCount: number): number {
  const blocks = layout.chunkStart + chunkCount * chunkBlocksOf(layout.cellsPerChunk) + 2;
  return blocks * BLOCK_BYTES;
}

function metaPagesPerChunk(cellsPerChunk: number): number {
  return (
    Math.ceil(cellsPerChunk / OWNERS_PER_PAGE) + Math.ceil(cellsPerChunk / CELLS_PER_CHECKSUM_PAGE)
  );
}

function chunkBlocksOf(cellsPerChunk: number): number {
  return (
    roundUp(2 * metaPagesPerChunk(cellsPerChunk), EXTENT_BLOCKS) + cellsPerChunk * EXTENT_BLOCKS
  );
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Arithmetic over a layout. Cells are numbered over the whole drive, chunk after chunk. */
export class Geometry {
  readonly layout: Layout;
  readonly cellsPerChunk: number;
  readonly cellCount: number;
  readonly pagesPerChunk: number;
  readonly ownerPagesPerChunk: number;
  readonly chunkBlocks: number;
  readonly pageCount: number;
  readonly #chunkMetaBlocks: number;

  constructor(layout: Layout) {
    this.layout = layout;
    this.cellsPerChunk = layout.cellsPerChunk;
    this.cellCount = layout.chunkCount * layout.cellsPerChunk;
    this.ownerPagesPerChunk = Math.ceil(layout.cellsPerChunk / OWNERS_PER_PAGE);
    this.pagesPerChunk = metaPagesPerChunk(layout.cellsPerChunk);
    this.chunkBlocks = chunkBlocksOf(layout.cellsPerChunk);
    this.#chunkMetaBlocks = this.chunkBlocks - layout.cellsPerChunk * EXTENT_BLOCKS;
    this.pageCount = layout.tablePages + layout.chunkCount * this.pagesPerChunk;
    assert(this.cellCount < 2 ** 30, 'a cell number has 30 bits: 64 TiB');
  }

  /** The first block of a cell. */
  cellStart(cell: number): number {
    const chunk = Math.floor(cell / this.cellsPerChunk);
    const within = cell - chunk * this.cellsPerChunk;
    return (
      this.layout.chunkStart +
      chunk * this.chunkBlocks +
      this.#chunkMetaBlocks +
      within * EXTENT_BLOCKS
    );
  }

  /** The page with the owner entry of `cell`; the entry's index in it is {@link ownerIndex}. */
  ownerPage(cell: number): number {
    const chunk = Math.floor(cell / this.cellsPerChunk);
    const within = cell - chunk * this.cellsPerChunk;
    return (
      this.layout.tablePages + chunk * this.pagesPerChunk + Math.floor(within / OWNERS_PER_PAGE)
    );
  }

  ownerIndex(cell: number): number {
    return (cell % this.cellsPerChunk) % OWNERS_PER_PAGE;
  }

  /** The page with the 16 checksums of `cell`; the first one's index in it is {@link checksumIndex}. */
  checksumPage(cell: number): number {
    const chunk = Math.floor(cell / this.cellsPerChunk);
    const within = cell - chunk * this.cellsPerChunk;
    return (
      this.layout.tablePages +
      chunk * this.pagesPerChunk +
      this.ownerPagesPerChunk +
      Math.floor(within / CELLS_PER_CHECKSUM_PAGE)
    );
  }

  checksumIndex(cell: number): number {
    return ((cell % this.cellsPerChunk) % CELLS_PER_CHECKSUM_PAGE) * EXTENT_BLOCKS;
  }

  /** The first cell that owner page `page` describes, or -1 where it is another kind of page. */
  firstCellOfOwnerPage(page: number): number {
    const index = page - this.layout.tablePages;
    if (index < 0) return -1;
    const chunk = Math.floor(index / this.pagesPerChunk);
    const within = index - chunk * this.pagesPerChunk;
    if (within >= this.ownerPagesPerChunk) return -1;
    return chunk * this.cellsPerChunk + within * OWNERS_PER_PAGE;
  }

  /** The block of copy 0 (A) or 1 (B) of a metadata page. */
  pageBlock(page: number, copy: number): number {
    const { tablePages, tableStart, chunkStart } = this.layout;
    if (page < tablePages) return tableStart + copy * tablePages + page;
    const index = page - tablePages;
    const chunk = Math.floor(index / this.pagesPerChunk);
    const within = index - chunk * this.pagesPerChunk;
    return chunkStart + chunk * this.chunkBlocks + copy * this.pagesPerChunk + within;
  }

  /** The block of a directory page. */
  directoryBlock(directoryPage: number, copy: number): number {
    return this.layout.directoryStart + copy * this.layout.directoryPages + directoryPage;
  }

  /** The blocks of superblock number `n` and of its mirror at the end of the drive. */
  superblockBlocks(n: number): readonly [number, number] {
    const slot = n % 2;
    return [slot, this.layout.sizeBytes / BLOCK_BYTES - 2 + slot];
  }
}
