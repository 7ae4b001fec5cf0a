/** Owner entries of cells, changed in their pages: what the next checkpoint writes. */

import { assert } from '../lib/assert.ts';
import type { DriveState } from './drive-state.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import { OWNER_WORDS, PAGE_ENTRIES } from './page-format.ts';

/** Clears a cell's owner entry, whose page is present, drops its logged payload and sends it to limbo. */
export function releaseCell(drive: DriveState, cell: number, lsn: number): void {
  const start = drive.media.geometry.cellStart(cell);
  for (let block = 0; block < EXTENT_BLOCKS; block++) drive.payloads.supersede(start + block, lsn);
  writeOwner(drive, cell, lsn, [0, 0, 0, 0, 0, 0]);
  drive.allocator.limbo(cell, lsn);
}

/** Writes the owner entry of `cell`, whose page is present, and marks the page. */
export function writeOwner(
  drive: DriveState,
  cell: number,
  lsn: number,
  entry: readonly number[],
): void {
  const { geometry, words } = drive.media;
  const page = geometry.ownerPage(cell);
  const address = drive.cache.find(page);
  assert(typeof address === 'number', 'the owner page is present');
  words.set(entry, (address >>> 2) + PAGE_ENTRIES + geometry.ownerIndex(cell) * OWNER_WORDS);
  drive.cache.dirty(page, lsn);
}
