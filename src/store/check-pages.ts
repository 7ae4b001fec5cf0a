/** Both copies of every metadata page. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import type { IoAsync } from '../env/io-async.ts';
import { type Findings, NO_WAY_BUT_COPIES } from './check-report.ts';
import type { Directory } from './directory.ts';
import { readReadable } from './exact.ts';
import type { Media } from './media.ts';
import { PAGE_MAGIC, isPage } from './page-format.ts';

/** Pages read at once, both copies of each: 256 KiB. */
const BATCH_PAGES = 32;

/** `Checkpointer.mirror`, as `TurnKeeper` calls it. */
const BY_ITSELF = 'once it has been open without a change for a minute, and under load by and by';

export type PagesToCheck = {
  readonly directory: Directory;
  /** 64 blocks of arena memory. */
  readonly scratch: number;
  readonly findings: Findings;
};

export type PagesChecked = {
  readonly read: number;
  /** A page of the volume table is lost: the drive does not open. */
  readonly tableLost: boolean;
};

/** good: what the directory names; other: a sound page of another generation, or blank; bad: neither. */
type Copy = 'good' | 'other' | 'bad';

export async function checkPages(
  media: Media,
  ioAsync: IoAsync,
  work: PagesToCheck,
): Promise<PagesChecked> {
  const check = new PagesCheck(media, ioAsync, work);
  let batch: number[] = [];
  for (let page = 0; page < media.geometry.pageCount; page++) {
    if (work.directory.generation(page) === 0) continue;
    batch.push(page);
    if (batch.length < BATCH_PAGES) continue;
    await check.batch(batch);
    batch = [];
  }
  await check.batch(batch);
  return check.end();
}

class PagesCheck {
  readonly #media: Media;
  readonly #ioAsync: IoAsync;
  readonly #work: PagesToCheck;
  #read = 0;
  #unmirrored = 0;
  #tableLost = false;

  constructor(media: Media, ioAsync: IoAsync, work: PagesToCheck) {
    this.#media = media;
    this.#ioAsync = ioAsync;
    this.#work = work;
  }

  async batch(pages: readonly number[]): Promise<void> {
    const { directory, scratch } = this.#work;
    const copies = await Promise.all(
      pages.flatMap((page, place) =>
        [0, 1].map((copy) =>
          this.#copy({ page, copy, scratch: scratch + (place * 2 + copy) * BLOCK_BYTES }),
        ),
      ),
    );
    for (const [place, page] of pages.entries()) {
      const current = directory.copy(page);
      const named = copies[place * 2 + current] ?? 'bad';
      const other = copies[place * 2 + (current ^ 1)] ?? 'bad';
      this.#read++;
      this.#judge(page, { current, named, other });
    }
  }

  async #copy(from: {
    readonly page: number;
    readonly copy: number;
    readonly scratch: number;
  }): Promise<Copy> {
    const media = this.#media;
    const { page, copy, scratch } = from;
    const position = media.geometry.pageBlock(page, copy) * BLOCK_BYTES;
    const range = { address: scratch, lengthBytes: BLOCK_BYTES, bytes: media.bytes };
    const unreadable = await readReadable(this.#ioAsync, media.fd, position, range);
    if (unreadable.length > 0) return 'bad';
    const generation = this.#work.directory.generation(page);
    if (isPage(media, scratch, { magic: PAGE_MAGIC, page, generation })) return 'good';
    if (isPage(media, scratch, { magic: PAGE_MAGIC, page })) return 'other';
    const w = scratch >>> 2;
    const words = media.words.subarray(w, w + BLOCK_BYTES / 4);
    return words.every((word) => word === 0) ? 'other' : 'bad';
  }

  #judge(
    page: number,
    at: { readonly current: number; readonly named: Copy; readonly other: Copy },
  ): void {
    const { named, other } = at;
    if (named === 'good' && other === 'good') return;
    // The other copy of a page that was written and not mirrored yet is blank or of another generation: nothing is wrong with that.
    if (named === 'good' && other === 'other') this.#unmirrored++;
    else if (named === 'good' || other === 'good') this.#oneRotten(page, at);
    else this.#lost(page, at);
  }

  #oneRotten(
    page: number,
    at: { readonly current: number; readonly named: Copy; readonly other: Copy },
  ): void {
    const rotten = at.named === 'good' ? at.other : at.named;
    const copy = at.named === 'good' ? at.current ^ 1 : at.current;
    this.#work.findings.add({
      code: 'PAGE_COPY',
      severity: 'warning',
      where: pageName(this.#media, page),
      what: `Its copy in block ${this.#media.geometry.pageBlock(page, copy)} ${
        rotten === 'bad'
          ? 'does not verify, or cannot be read: rot, or a write that a power cut tore'
          : 'is not of the generation that the directory names: a write was lost'
      }`,
      consequence: 'The other copy is good and is used',
      wayOut: `The drive writes it anew ${BY_ITSELF}; holdfast drive check --repair does it now`,
    });
  }

  #lost(page: number, at: { readonly named: Copy; readonly other: Copy }): void {
    if (page < this.#media.geometry.layout.tablePages) this.#tableLost = true;
    const generation = this.#work.directory.generation(page);
    this.#work.findings.add({
      code: 'PAGE_LOST',
      severity: 'damage',
      where: pageName(this.#media, page),
      what:
        at.named === 'bad' && at.other === 'bad'
          ? 'Neither of its two copies verifies'
          : `Neither of its two copies is generation ${generation}, which the directory names: rot, or a lost write`,
      consequence: consequenceOf(this.#media, page),
      wayOut: NO_WAY_BUT_COPIES,
    });
  }

  end(): PagesChecked {
    if (this.#unmirrored > 0) {
      this.#work.findings.add({
        code: 'PAGES_UNMIRRORED',
        severity: 'note',
        where: 'metadata',
        what: `${this.#unmirrored} pages are in one copy: the drive was not closed, or not to the end, after they changed`,
        consequence: 'Rot in that copy would lose the page',
        wayOut: `The drive makes the other copies equal ${BY_ITSELF}; holdfast drive check --repair does it now`,
      });
    }
    return { read: this.#read, tableLost: this.#tableLost };
  }
}

function pageName(media: Media, page: number): string {
  const { tablePages } = media.geometry.layout;
  if (page < tablePages) return `volume table page ${page}`;
  const kind = media.geometry.firstCellOfOwnerPage(page) >= 0 ? 'owner' : 'checksum';
  return `${kind} page ${page} (chunk ${Math.floor((page - tablePages) / media.geometry.pagesPerChunk)})`;
}

function consequenceOf(media: Media, page: number): string {
  if (page < media.geometry.layout.tablePages)
    return 'Volumes are missing: the drive does not open';
  return media.geometry.firstCellOfOwnerPage(page) >= 0
    ? 'It is not known which extents these cells hold: the drive is read-only, and what seems never written cannot be read'
    : 'The blocks of these cells cannot be verified: reading them ends in EIO';
}
