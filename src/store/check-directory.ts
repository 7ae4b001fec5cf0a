/** Both copies of the directory's pages, and whether together they are what the superblock says. */

import { Fault } from '../model/errors.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import type { IoAsync } from '../env/io-async.ts';
import { type Findings, NO_WAY_BUT_COPIES } from './check-report.ts';
import type { Directory } from './directory.ts';
import { readReadable } from './exact.ts';
import { ENTRIES_PER_DIRECTORY_PAGE } from './geometry.ts';
import type { Loader } from './load.ts';
import type { Media } from './media.ts';
import { DIRECTORY_MAGIC, isPage } from './page-format.ts';
import type { Superblock } from './superblock.ts';

export type DirectoryToCheck = {
  readonly directory: Directory;
  readonly loader: Loader;
  readonly superblock: Superblock;
  /** One block of arena memory, and what the loader needs. */
  readonly scratch: number;
  readonly findings: Findings;
};

/** Fills the directory. Returns whether it is known. */
export async function checkDirectory(
  media: Media,
  ioAsync: IoAsync,
  work: DirectoryToCheck,
): Promise<boolean> {
  const { findings } = work;
  const count = Math.ceil(media.geometry.pageCount / ENTRIES_PER_DIRECTORY_PAGE);
  for (let index = 0; index < count; index++) {
    const copies = [0, 1].map((copy) => media.geometry.directoryBlock(index, copy));
    for (const block of copies) {
      if (await isSound(media, ioAsync, { block, index, scratch: work.scratch })) continue;
      findings.add({
        code: 'DIRECTORY_COPY',
        severity: 'warning',
        where: `directory page ${index}`,
        what: `Its copy in block ${block} does not verify, or cannot be read: rot, or a write that a power cut tore`,
        consequence: 'Its other copy is used, where that is the newest one',
        wayOut: 'holdfast drive check --repair writes it anew; so does the next opening',
      });
    }
  }
  try {
    await work.loader.directory(work.directory, work.superblock);
    return true;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    findings.add({
      code: 'DIRECTORY_LOST',
      severity: 'damage',
      where: 'directory',
      what: `Its newest pages are not those that superblock ${work.superblock.n} was written for: some are rotten or lost, or this superblock is not the newest`,
      consequence: 'The drive does not open: which copies of its metadata pages count is not known',
      wayOut: NO_WAY_BUT_COPIES,
    });
    return false;
  }
}

/** Whether a copy is a good page, or was never written. */
async function isSound(
  media: Media,
  ioAsync: IoAsync,
  from: { readonly block: number; readonly index: number; readonly scratch: number },
): Promise<boolean> {
  const { block, index, scratch } = from;
  const range = { address: scratch, lengthBytes: BLOCK_BYTES, bytes: media.bytes };
  const unreadable = await readReadable(ioAsync, media.fd, block * BLOCK_BYTES, range);
  if (unreadable.length > 0) return false;
  if (isPage(media, scratch, { magic: DIRECTORY_MAGIC, page: index })) return true;
  const w = scratch >>> 2;
  return media.words.subarray(w, w + BLOCK_BYTES / 4).every((word) => word === 0);
}
