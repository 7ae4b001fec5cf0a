/** Both copies of every metadata page. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Findings } from './check-report.ts';
import type { Directory } from './directory.ts';
import { readExact } from './exact.ts';
import type { Media } from './media.ts';
import { PAGE_MAGIC, isPage } from './page-format.ts';

export type PagesChecked = {
  readonly read: number;
  /** Pages of which one copy is rotten and the other good. */
  readonly rottenCopies: readonly number[];
};

type Copy = 'good' | 'older' | 'bad';

export async function checkPages(
  media: Media,
  ioAsync: IoAsync,
  work: { readonly directory: Directory; readonly scratch: number; readonly findings: Findings },
): Promise<PagesChecked> {
  const { directory, findings } = work;
  const rottenCopies: number[] = [];
  let read = 0;
  let unmirrored = 0;
  for (let page = 0; page < media.geometry.pageCount; page++) {
    const generation = directory.generation(page);
    if (generation === 0) continue;
    read++;
    const current = directory.copy(page);
    const good = await readCopy(media, ioAsync, {
      page,
      copy: current,
      generation,
      scratch: work.scratch,
    });
    const other = await readCopy(media, ioAsync, {
      page,
      copy: current ^ 1,
      generation,
      scratch: work.scratch,
    });
    if (good === 'good' && other === 'good') continue;
    // The other copy of a page that was written once and not mirrored yet is blank or older: nothing is wrong with that.
    if (good === 'good' && other === 'older') {
      unmirrored++;
      continue;
    }
    if (good === 'good' || other === 'good') {
      rottenCopies.push(page);
      findings.add({
        code: 'PAGE_COPY',
        severity: 'warning',
        where: pageName(media, page),
        what: `One of its two copies is rotten (block ${media.geometry.pageBlock(page, good === 'good' ? current ^ 1 : current)})`,
        consequence: 'The other copy is good and is used',
        wayOut: 'holdfast drive check --repair writes it anew; so does the next change of the page',
      });
      continue;
    }
    findings.add({
      code: 'PAGE_LOST',
      severity: 'damage',
      where: pageName(media, page),
      what: 'Both of its copies are rotten',
      consequence: consequenceOf(media, page),
      wayOut: 'Restore the volumes from other replicas or a backup',
    });
  }
  if (unmirrored > 0) {
    findings.add({
      code: 'PAGES_UNMIRRORED',
      severity: 'note',
      where: 'metadata',
      what: `${unmirrored} pages changed lately and are in one copy so far`,
      consequence: 'An idle drive copies them by itself',
    });
  }
  return { read, rottenCopies };
}

async function readCopy(
  media: Media,
  ioAsync: IoAsync,
  from: {
    readonly page: number;
    readonly copy: number;
    readonly generation: number;
    readonly scratch: number;
  },
): Promise<Copy> {
  const { page, copy, generation, scratch } = from;
  const position = media.geometry.pageBlock(page, copy) * BLOCK_BYTES;
  await readExact(ioAsync, media.fd, position, { address: scratch, lengthBytes: BLOCK_BYTES });
  if (isPage(media, scratch, { magic: PAGE_MAGIC, page, generation })) return 'good';
  if (isPage(media, scratch, { magic: PAGE_MAGIC, page })) return 'older';
  const w = scratch >>> 2;
  return media.words.subarray(w, w + BLOCK_BYTES / 4).every((word) => word === 0) ? 'older' : 'bad';
}

function pageName(media: Media, page: number): string {
  if (page < media.geometry.layout.tablePages) return `volume table page ${page}`;
  const kind = media.geometry.firstCellOfOwnerPage(page) >= 0 ? 'owner' : 'checksum';
  const chunk = Math.floor(
    (page - media.geometry.layout.tablePages) / media.geometry.pagesPerChunk,
  );
  return `${kind} page ${page} (chunk ${chunk})`;
}

function consequenceOf(media: Media, page: number): string {
  if (page < media.geometry.layout.tablePages)
    return 'Volumes are missing: the drive does not open';
  return media.geometry.firstCellOfOwnerPage(page) >= 0
    ? 'It is not known which extents these cells hold: the drive is read-only, and what seems never written cannot be read'
    : 'The blocks of these cells cannot be verified: reading them ends in EIO';
}
