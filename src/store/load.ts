/** Reads a drive's metadata as its newest superblock describes it: superblock, directory, volume table, owners. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Allocator } from './allocator.ts';
import type { Directory } from './directory.ts';
import { readReadable } from './exact.ts';
import type { ExtentMap } from './extent-map.ts';
import { ENTRIES_PER_DIRECTORY_PAGE, OWNERS_PER_PAGE } from './geometry.ts';
import type { Checksum } from '../lib/checksum.ts';
import type { Media } from './media.ts';
import { DIRECTORY_MAGIC, isPage, OWNER_WORDS, PAGE_ENTRIES, PAGE_MAGIC } from './page-format.ts';
import { parseSuperblock, type ParsedSuperblock, type Superblock } from './superblock.ts';
import type { VolumeTable } from './volume-table.ts';

/** Pages read at once. */
const BATCH_PAGES = 64;

/** Memory that loading needs: BATCH_PAGES blocks. */
export const LOAD_BYTES: number = BATCH_PAGES * BLOCK_BYTES;

export type SuperblockPlace = {
  readonly ioAsync: IoAsync;
  readonly fd: number;
  readonly words: Uint32Array;
  readonly checksum: Checksum;
  readonly scratch: number;
  readonly fileBytes: number;
};

export type FoundSuperblocks = {
  /** The newest good one; undefined where one of them is not for this program. */
  readonly newest: Superblock | undefined;
  /** One result for each of the four copies: SB0, SB1 and their mirrors. */
  readonly copies: readonly ParsedSuperblock[];
};

/** Reads the four superblock copies. */
export async function findSuperblocks(place: SuperblockPlace): Promise<FoundSuperblocks> {
  const copies: ParsedSuperblock[] = [await readCopy(place, 0), await readCopy(place, 1)];
  // The mirrors lie at the end that the newer superblock names; where both first copies are gone, at the end of the file.
  const sizeBytes = newestOf(copies)?.layout.sizeBytes ?? place.fileBytes;
  const blocks = Math.floor(sizeBytes / BLOCK_BYTES);
  if (blocks > 4) copies.push(await readCopy(place, blocks - 2), await readCopy(place, blocks - 1));
  // A newer program's superblock beside an older one of ours: what ours says is no longer so.
  const isOurs = copies.every((copy) => copy.kind !== 'unsupported');
  return { newest: isOurs ? newestOf(copies) : undefined, copies };
}

function newestOf(copies: readonly ParsedSuperblock[]): Superblock | undefined {
  let newest: Superblock | undefined;
  for (const copy of copies) {
    if (copy.kind === 'ok' && copy.superblock.n > (newest?.n ?? 0)) newest = copy.superblock;
  }
  return newest;
}

async function readCopy(place: SuperblockPlace, block: number): Promise<ParsedSuperblock> {
  if ((block + 1) * BLOCK_BYTES > place.fileBytes) return { kind: 'foreign' };
  const bytes = new Uint8Array(place.words.buffer);
  const range = { address: place.scratch, lengthBytes: BLOCK_BYTES, bytes };
  const unreadable = await readReadable(place.ioAsync, place.fd, block * BLOCK_BYTES, range);
  if (unreadable.length > 0) return { kind: 'rotten' };
  return parseSuperblock(place.words, { address: place.scratch, checksum: place.checksum });
}

/** Why there is no superblock to go by. */
export function superblockProblem(found: FoundSuperblocks): string {
  const unsupported = found.copies.find((copy) => copy.kind === 'unsupported');
  if (unsupported?.kind === 'unsupported') return `it has ${unsupported.reason}`;
  if (found.copies.some((copy) => copy.kind === 'rotten')) return 'all its superblocks are rotten';
  return 'it has no superblock: it was never formatted by Holdfast, or not to the end';
}

/** Reads the owners of a drive at its opening and fills the maps from them. */
export class Loader {
  readonly #media: Media;
  readonly #ioAsync: IoAsync;
  readonly #scratch: number;

  /** `scratch`: {@link LOAD_BYTES} bytes of arena memory. */
  constructor(media: Media, ioAsync: IoAsync, scratch: number) {
    this.#media = media;
    this.#ioAsync = ioAsync;
    this.#scratch = scratch;
  }

  /**
   * Fills the directory as of the superblock's checkpoint: of each directory page the newest copy that is not newer. The digest in the
   * superblock tells a lost or rotten page from a good old one.
   */
  async directory(directory: Directory, superblock: Superblock): Promise<void> {
    // What is made for chunks that the drive may grow to was never written.
    const count = Math.ceil(this.#media.geometry.pageCount / ENTRIES_PER_DIRECTORY_PAGE);
    for (let index = 0; index < count; index++) {
      const generations = [0, 0];
      for (const copy of [0, 1]) {
        await this.#read(this.#media.geometry.directoryBlock(index, copy), this.#scratch);
        if (!isPage(this.#media, this.#scratch, { magic: DIRECTORY_MAGIC, page: index })) continue;
        const w = this.#scratch >>> 2;
        const generation = this.#media.words[w + 4] ?? 0;
        generations[copy] = generation;
        const known = directory.pageGenerations[index] ?? 0;
        if (generation > superblock.n || generation <= known) continue;
        directory.pageGenerations[index] = generation;
        directory.pageCopies[index] = copy;
        const entries = directory.entriesOf(index);
        entries.set(
          this.#media.words.subarray(w + PAGE_ENTRIES, w + PAGE_ENTRIES + entries.length),
        );
      }
      if (generations[0] !== generations[1]) directory.halves.add(index);
    }
    const [low, high] = directory.digest();
    if (low !== superblock.directoryDigestLow || high !== superblock.directoryDigestHigh) {
      throw new Fault('DRIVE_CORRUPT', {
        problem: 'pages of its directory are lost or rotten in both copies',
      });
    }
  }

  /** Reads the volume table. A page that is rotten in both copies makes the drive unusable: volumes would be missing. */
  async table(directory: Directory, table: VolumeTable): Promise<void> {
    const { tablePages } = this.#media.geometry.layout;
    await this.#pages(directory, { first: 0, count: tablePages }, (page, address) => {
      if (address === undefined) {
        throw new Fault('DRIVE_CORRUPT', {
          problem: `page ${page} of its volume table is rotten in both copies`,
        });
      }
      table.enterPage(page, address);
    });
  }

  /** Builds map and allocator from the owner pages. Returns the pages that are rotten in both copies. */
  async owners(
    directory: Directory,
    to: { readonly table: VolumeTable; readonly map: ExtentMap; readonly allocator: Allocator },
  ): Promise<readonly number[]> {
    const { geometry } = this.#media;
    const rotten: number[] = [];
    const { tablePages } = geometry.layout;
    const count = geometry.pageCount - tablePages;
    const isOwner = (page: number): boolean => geometry.firstCellOfOwnerPage(page) >= 0;
    await this.#pages(directory, { first: tablePages, count, isOwner }, (page, address) => {
      if (address === undefined) rotten.push(page);
      else this.#enterOwners(page, address, to);
    });
    return rotten;
  }

  #enterOwners(
    page: number,
    address: number,
    to: { readonly table: VolumeTable; readonly map: ExtentMap; readonly allocator: Allocator },
  ): void {
    const { words, geometry } = this.#media;
    const firstCell = geometry.firstCellOfOwnerPage(page);
    const chunkEnd = (Math.floor(firstCell / geometry.cellsPerChunk) + 1) * geometry.cellsPerChunk;
    for (let index = 0; index < OWNERS_PER_PAGE && firstCell + index < chunkEnd; index++) {
      const at = (address >>> 2) + PAGE_ENTRIES + index * OWNER_WORDS;
      const number = words[at] ?? 0;
      if (number === 0) continue;
      const volume = to.table.volumeOrGhost(number);
      const extent = words[at + 1] ?? 0;
      const masks = words[at + 4] ?? 0;
      volume.fitLeaves((extent + 1) * 16 * BLOCK_BYTES);
      const version = {
        cell: firstCell + index,
        decided: masks & 0xffff,
        data: masks >>> 16,
        era: volume.eraOf(words[at + 2] ?? 0, words[at + 3] ?? 0),
      };
      const birth = volume.birthOf(version.era);
      const others = to.map.versions(volume, extent);
      const place = others.findIndex((other) => volume.birthOf(other.era) < birth);
      others.splice(place < 0 ? others.length : place, 0, version);
      to.map.setVersions(volume, extent, others);
      to.allocator.mark(version.cell);
    }
  }

  /** Reads pages that were ever written, in batches; hands each to `visit`, without an address where both copies are rotten. */
  async #pages(
    directory: Directory,
    range: {
      readonly first: number;
      readonly count: number;
      readonly isOwner?: (page: number) => boolean;
    },
    visit: (page: number, address: number | undefined) => void,
  ): Promise<void> {
    let batch: number[] = [];
    const flush = async (): Promise<void> => {
      const pages = batch;
      batch = [];
      const good = await Promise.all(
        pages.map((page, place) => this.#page(directory, page, place)),
      );
      for (const [place, page] of pages.entries()) {
        visit(page, good[place] === true ? this.#scratch + place * BLOCK_BYTES : undefined);
      }
    };
    for (let page = range.first; page < range.first + range.count; page++) {
      if (directory.generation(page) === 0 || range.isOwner?.(page) === false) continue;
      batch.push(page);
      if (batch.length === BATCH_PAGES) await flush();
    }
    await flush();
  }

  async #page(directory: Directory, page: number, place: number): Promise<boolean> {
    const address = this.#scratch + place * BLOCK_BYTES;
    const first = directory.copy(page);
    for (const copy of [first, first ^ 1]) {
      await this.#read(this.#media.geometry.pageBlock(page, copy), address);
      const expected = { magic: PAGE_MAGIC, page, generation: directory.generation(page) };
      if (!isPage(this.#media, address, expected)) continue;
      if (copy !== first) {
        directory.preferOther(page);
        this.#media.counters.pagesHealed++;
      }
      return true;
    }
    this.#media.counters.checksumErrors++;
    return false;
  }

  /** A block that cannot be read is as good as a rotten one: the other copy decides. */
  async #read(block: number, address: number): Promise<void> {
    const range = { address, lengthBytes: BLOCK_BYTES, bytes: this.#media.bytes };
    await readReadable(this.#ioAsync, this.#media.fd, block * BLOCK_BYTES, range);
  }
}
