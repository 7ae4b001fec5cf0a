/** Every data block against its checksum, in the order of the map: one read for each cell. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Findings } from './check-report.ts';
import { readExact } from './exact.ts';
import type { ExtentMap } from './extent-map.ts';
import { EXTENT_BLOCKS, EXTENT_BYTES } from './geometry.ts';
import type { Media } from './media.ts';
import { PAGE_ENTRIES } from './page-format.ts';
import type { Redo } from './replay.ts';
import type { VolumeTable } from './volume-table.ts';
import type { Volume } from './volume.ts';

export type DataToCheck = {
  readonly media: Media;
  readonly ioAsync: IoAsync;
  readonly map: ExtentMap;
  readonly table: VolumeTable;
  readonly load: (page: number) => Promise<number>;
  /** At least one extent of arena memory. */
  readonly window: number;
  readonly findings: Findings;
};

/** `redo`: blocks whose newest content is in the log still. Returns the number of blocks read. */
export async function checkData(
  state: DataToCheck,
  redo: ReadonlyMap<number, Redo>,
): Promise<number> {
  let blocks = 0;
  for (const volume of state.table.all()) {
    const extents: number[] = [];
    state.map.forEach(volume, 0, (extent) => extents.push(extent) > 0);
    for (const extent of extents) {
      for (const version of state.map.versions(volume, extent)) {
        blocks += await checkCell(state, { volume, extent, ...version }, redo);
      }
    }
  }
  return blocks;
}

async function checkCell(
  state: DataToCheck,
  at: {
    readonly volume: Volume;
    readonly extent: number;
    readonly cell: number;
    readonly data: number;
  },
  redo: ReadonlyMap<number, Redo>,
): Promise<number> {
  const { media, ioAsync, window, findings } = state;
  const start = media.geometry.cellStart(at.cell);
  const range = { address: window, lengthBytes: EXTENT_BYTES };
  await readExact(ioAsync, media.fd, start * BLOCK_BYTES, range);
  const page = await state.load(media.geometry.checksumPage(at.cell));
  const sums = (page >>> 2) + PAGE_ENTRIES + media.geometry.checksumIndex(at.cell);
  let blocks = 0;
  for (let block = 0; block < EXTENT_BLOCKS; block++) {
    if (((at.data >>> block) & 1) === 0 || redo.has(start + block)) continue;
    blocks++;
    const seed = at.extent * EXTENT_BLOCKS + block;
    const sum = media.checksum(window + block * BLOCK_BYTES, BLOCK_BYTES, seed, at.volume.number);
    if (sum === ((media.words[sums + block] ?? 0) | 0)) continue;
    findings.add({
      code: 'BLOCK_ROTTEN',
      severity: 'damage',
      where: `volume "${at.volume.uuid}", byte ${at.extent * EXTENT_BYTES + block * BLOCK_BYTES}`,
      what: `The block's checksum does not match (drive block ${start + block})`,
      consequence: 'Reading it ends in EIO until it is written again',
      wayOut: 'Write the block anew, or restore it from another replica or a backup',
    });
  }
  return blocks;
}
