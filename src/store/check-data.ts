/** Every data block against its checksum, in the order in which they lie on the drive: two large reads under way at any time. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Findings } from './check-report.ts';
import { readReadable } from './exact.ts';
import { EXTENT_BLOCKS, EXTENT_BYTES, OWNERS_PER_PAGE } from './geometry.ts';
import type { Media } from './media.ts';
import { OWNER_WORDS, PAGE_ENTRIES } from './page-format.ts';
import type { Redo } from './replay.ts';
import type { VolumeTable } from './volume-table.ts';

export type DataToCheck = {
  readonly media: Media;
  readonly ioAsync: IoAsync;
  readonly table: VolumeTable;
  /** Metadata pages as the log's replay leaves them. */
  readonly load: (page: number) => Promise<number>;
  /** Whether a page was ever written, or is changed by the log. */
  readonly isKnown: (page: number) => boolean;
  /** 256 blocks of arena memory. */
  readonly window: number;
  /** Blocks whose newest content may be in the log still. */
  readonly redo: ReadonlyMap<number, Redo>;
  readonly findings: Findings;
  /** Called with the cells that are done, each time some are. */
  readonly onCells: (count: number) => void;
};

/** Half of the window: cells that lie next to each other are read together, 512 KiB at once. */
const RUN_CELLS = 8;

type OwnedCell = {
  readonly cell: number;
  readonly volume: number;
  readonly extent: number;
  readonly data: number;
};

/** Returns the number of blocks read. */
export async function checkData(work: DataToCheck): Promise<number> {
  const check = new DataCheck(work);
  let ahead: Promise<() => Promise<void>> | undefined;
  let half = 0;
  let cells = 0;
  for await (const run of runs(work)) {
    // The next run is being read while this one is verified.
    const reading = check.read(run, half);
    // Awaited below, or never where the one before it fails.
    reading.catch(() => undefined);
    half ^= 1;
    if (ahead !== undefined) await (await ahead)();
    ahead = reading;
    cells += run.length;
    work.onCells(cells);
  }
  if (ahead !== undefined) await (await ahead)();
  return check.blocks;
}

/** The cells with data, in order, in runs without gaps. */
async function* runs(work: DataToCheck): AsyncGenerator<readonly OwnedCell[]> {
  const { geometry } = work.media;
  let run: OwnedCell[] = [];
  for (let page = geometry.layout.tablePages; page < geometry.pageCount; page++) {
    if (geometry.firstCellOfOwnerPage(page) < 0 || !work.isKnown(page)) continue;
    for (const owned of await cellsOf(work, page)) {
      const next = run.length === 0 ? undefined : geometry.cellStart(run.at(-1)?.cell ?? 0);
      const follows = next !== undefined && geometry.cellStart(owned.cell) === next + EXTENT_BLOCKS;
      if (run.length > 0 && (!follows || run.length === RUN_CELLS)) {
        yield run;
        run = [];
      }
      run.push(owned);
    }
  }
  if (run.length > 0) yield run;
}

async function cellsOf({ media, load }: DataToCheck, page: number): Promise<readonly OwnedCell[]> {
  const { geometry, words } = media;
  const address = await loadKnown(load, page);
  if (address === undefined) return [];
  const first = geometry.firstCellOfOwnerPage(page);
  const chunkEnd = (Math.floor(first / geometry.cellsPerChunk) + 1) * geometry.cellsPerChunk;
  const cells: OwnedCell[] = [];
  for (let index = 0; index < OWNERS_PER_PAGE && first + index < chunkEnd; index++) {
    const at = (address >>> 2) + PAGE_ENTRIES + index * OWNER_WORDS;
    const data = (words[at + 4] ?? 0) >>> 16;
    if (words[at] === 0 || data === 0) continue;
    const [volume, extent] = [words[at] ?? 0, words[at + 1] ?? 0];
    cells.push({ cell: first + index, volume, extent, data });
  }
  return cells;
}

/** Undefined where both copies are rotten, which is found and told already. */
async function loadKnown(load: DataToCheck['load'], page: number): Promise<number | undefined> {
  try {
    return await load(page);
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

class DataCheck {
  readonly #work: DataToCheck;
  blocks = 0;

  constructor(work: DataToCheck) {
    this.#work = work;
  }

  /** Reads a run into half of the window; resolves with what verifies it. */
  async read(run: readonly OwnedCell[], half: number): Promise<() => Promise<void>> {
    const { media, ioAsync, window } = this.#work;
    const address = window + half * RUN_CELLS * EXTENT_BYTES;
    const start = media.geometry.cellStart(run[0]?.cell ?? 0) * BLOCK_BYTES;
    const range = { address, lengthBytes: run.length * EXTENT_BYTES, bytes: media.bytes };
    const unreadable = new Set(await readReadable(ioAsync, media.fd, start, range));
    return () => this.#verify(run, { address, unreadable });
  }

  async #verify(
    run: readonly OwnedCell[],
    at: { readonly address: number; readonly unreadable: ReadonlySet<number> },
  ): Promise<void> {
    const { media, load } = this.#work;
    for (const [place, owned] of run.entries()) {
      const page = await loadKnown(load, media.geometry.checksumPage(owned.cell));
      if (page === undefined) continue;
      const sums = (page >>> 2) + PAGE_ENTRIES + media.geometry.checksumIndex(owned.cell);
      const wanted = [...media.words.subarray(sums, sums + EXTENT_BLOCKS)];
      for (let block = 0; block < EXTENT_BLOCKS; block++) {
        if (((owned.data >>> block) & 1) === 0) continue;
        this.blocks++;
        const index = place * EXTENT_BLOCKS + block;
        const address = at.address + index * BLOCK_BYTES;
        const seed = owned.extent * EXTENT_BLOCKS + block;
        const sum = media.checksum(address, BLOCK_BYTES, seed, owned.volume);
        if (sum === ((wanted[block] ?? 0) | 0) && !at.unreadable.has(index)) continue;
        await this.#bad(owned, { block, address, isUnreadable: at.unreadable.has(index) });
      }
    }
  }

  /** The block in its place is bad; the log may have it. `address`: memory of the block. */
  async #bad(
    owned: OwnedCell,
    at: { readonly block: number; readonly address: number; readonly isUnreadable: boolean },
  ): Promise<void> {
    const { media, ioAsync, redo, table, findings } = this.#work;
    const driveBlock = media.geometry.cellStart(owned.cell) + at.block;
    const logged = redo.get(driveBlock);
    if (logged !== undefined) {
      const range = { address: at.address, lengthBytes: BLOCK_BYTES, bytes: media.bytes };
      const source = logged.source * BLOCK_BYTES;
      const unreadable = await readReadable(ioAsync, media.fd, source, range);
      const sum = media.checksum(at.address, BLOCK_BYTES, logged.seed, logged.volume);
      if (unreadable.length === 0 && sum === logged.sum) return;
    }
    const name = table.byNumber(owned.volume)?.uuid ?? `number ${owned.volume}`;
    findings.add({
      code: 'BLOCK_ROTTEN',
      severity: 'damage',
      where: `volume "${name}", byte ${owned.extent * EXTENT_BYTES + at.block * BLOCK_BYTES}`,
      what: at.isUnreadable
        ? `The drive cannot read the block (drive block ${driveBlock})`
        : `The block's checksum does not match (drive block ${driveBlock})`,
      consequence: 'Reading it ends in EIO until it is written again',
      wayOut: 'Write the block anew, or restore it from another replica or a backup',
    });
  }
}
