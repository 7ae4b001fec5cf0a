/**
 * Replay: brings map, owner and checksum pages from the last checkpoint's state (or a little later: pages are written while changes
 * go on) to the end of the log. Each record assigns absolutely, so replaying what a page already holds changes nothing.
 *
 * Nothing of what the checkpoint references is written. Payload whose place may not have it is collected and redone at the end;
 * the checkpoint after that makes it all count (drive-store.md, H14).
 */

import { assert } from '../lib/assert.ts';
import { Fault } from '../model/errors.ts';
import type { Allocator } from './allocator.ts';
import type { ExtentMap, Version } from './extent-map.ts';
import { NONE } from './extent-map.ts';
import {
  DIRECT,
  DURABLE,
  FREE,
  MARK,
  NO_CELL,
  RETAG,
  STAMP,
  TABLE,
  TRIM,
  WRITE,
  WRITE_WORDS,
} from './frame-format.ts';
import { EXTENT_BLOCKS, EXTENT_BYTES } from './geometry.ts';
import { blockPlace, parseRecords, voidKey, type ParsedRecord, type Voids } from './judge.ts';
import type { Frame } from './log-reader.ts';
import type { MarkBook } from './marks.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';
import { OWNER_WORDS, PAGE_ENTRIES } from './page-format.ts';
import { getU64 } from './superblock.ts';
import type { VolumeTable } from './volume-table.ts';
import type { Volume } from './volume.ts';

const ALL = 0xffff;

/** Content that must be written to its place before the drive serves: where it is now, and its checksum. */
export type Redo = {
  readonly source: number;
  readonly sum: number;
  readonly seed: number;
  readonly volume: number;
};

export type ReplayState = {
  readonly media: Media;
  readonly map: ExtentMap;
  readonly allocator: Allocator;
  readonly cache: PageCache;
  readonly table: VolumeTable;
  readonly marks: MarkBook;
  /** Resolves with the arena address of a metadata page; valid until the next await. */
  readonly load: (page: number) => Promise<number>;
};

export class Replay {
  readonly #state: ReplayState;
  readonly #voids: Voids;
  /** By drive block. */
  readonly redo: Map<number, Redo> = new Map();
  /** Cells of void redirects, by "volume/extent/cell": what refers to them means the cell they would have replaced. */
  readonly #instead = new Map<string, number>();

  constructor(state: ReplayState, voids: Voids) {
    this.#state = state;
    this.#voids = voids;
  }

  async frame(frame: Frame, words: Uint32Array, relieve: () => Promise<void>): Promise<void> {
    for (const record of parseRecords(frame, words)) {
      await relieve();
      if (record.type === WRITE) await this.#write(frame, words, record);
      else if (record.type === TRIM) await this.#trim(frame, record);
      else if (record.type === FREE) await this.#free(frame, record);
      else if (record.type === RETAG) await this.#keep(frame, words, record);
      else if (record.type === TABLE) {
        await this.#state.table.replay(words, record.at, frame.lsn);
      } else if (record.type === STAMP) await this.#stamp(frame, record);
      else if (record.type === MARK || record.type === DURABLE) this.#mark(words, record);
    }
  }

  #volume(record: ParsedRecord): Volume {
    const volume = this.#state.table.volumeOrGhost(record.volume);
    // A table page may show the volume's tombstone already, or a smaller size than it had at this record.
    volume.fitLeaves((record.extent + 1) * EXTENT_BYTES);
    return volume;
  }

  /** The cell that a record means, through redirects that are void. */
  #cell(record: ParsedRecord, cell: number): number {
    let meant = cell;
    for (;;) {
      const instead = this.#instead.get(`${record.volume}/${record.extent}/${meant}`);
      if (instead === undefined) return meant;
      meant = instead;
    }
  }

  async #write(frame: Frame, words: Uint32Array, record: ParsedRecord): Promise<void> {
    const bad = this.#voids.get(voidKey(frame.lsn, record)) ?? 0;
    const mask = record.mask & ~bad;
    const freed = record.freedCell === NO_CELL ? NONE : this.#cell(record, record.freedCell);
    if (freed !== NONE && mask === 0) {
      this.#instead.set(`${record.volume}/${record.extent}/${record.cell}`, freed);
      return;
    }
    if (mask === 0) return;
    const cell = this.#cell(record, record.cell);
    const volume = this.#volume(record);
    if (freed !== NONE) await this.#releaseCell(volume, record.extent, freed, frame.lsn);
    await this.#own(volume, record, cell);
    const versions = this.#state.map.versions(volume, record.extent);
    const era = volume.eraOf(record.birth, record.epoch);
    const known = versions.find((version) => version.cell === cell);
    const below = versions.some(
      (version) => version.cell !== cell && volume.birthOf(version.era) < record.birth,
    );
    const version = known ?? { cell, decided: below ? 0 : ALL, data: 0, era };
    version.decided |= mask;
    version.data |= mask;
    version.era = era;
    this.#place(volume, record.extent, known === undefined ? [...versions, version] : versions);
    await this.#sums(frame, words, { record, cell, mask, volume });
    await this.#writeOwner(volume, record.extent, cell, frame.lsn);
  }

  /** Sorts an extent's versions, newest first, and enters them. */
  #place(volume: Volume, extent: number, versions: Version[]): void {
    const sorted = versions.toSorted((a, b) => volume.birthOf(b.era) - volume.birthOf(a.era));
    this.#state.map.setVersions(volume, extent, sorted);
  }

  /** Enters checksums of the blocks in `mask` and notes what is to be redone. */
  async #sums(
    frame: Frame,
    words: Uint32Array,
    write: { record: ParsedRecord; cell: number; mask: number; volume: Volume },
  ): Promise<void> {
    const { record, cell, mask } = write;
    const { media, cache, load } = this.#state;
    const page = media.geometry.checksumPage(cell);
    const sums = ((await load(page)) >>> 2) + PAGE_ENTRIES + media.geometry.checksumIndex(cell);
    const start = media.geometry.cellStart(cell);
    for (let block = record.first; block < record.first + record.count; block++) {
      if (((mask >>> block) & 1) === 0) continue;
      const sum = (words[record.at + WRITE_WORDS + block - record.first] ?? 0) | 0;
      media.words[sums + block] = sum;
      const source = blockPlace(media, record, block);
      if (record.kind === DIRECT && source === start + block) this.redo.delete(start + block);
      else {
        const seed = record.extent * EXTENT_BLOCKS + block;
        this.redo.set(start + block, { source, sum, seed, volume: record.volume });
      }
    }
    cache.dirty(page, frame.lsn);
  }

  async #trim(frame: Frame, record: ParsedRecord): Promise<void> {
    const volume = this.#volume(record);
    if (record.freedCell !== NO_CELL) {
      const freed = this.#cell(record, record.freedCell);
      await this.#releaseCell(volume, record.extent, freed, frame.lsn);
      return;
    }
    const cell = this.#cell(record, record.cell);
    await this.#own(volume, record, cell);
    const versions = this.#state.map.versions(volume, record.extent);
    const era = volume.eraOf(record.birth, record.epoch);
    const known = versions.find((version) => version.cell === cell);
    const version = known ?? { cell, decided: 0, data: 0, era };
    version.decided |= record.mask;
    version.data &= ~record.mask;
    version.era = era;
    this.#place(volume, record.extent, known === undefined ? [...versions, version] : versions);
    const start = this.#state.media.geometry.cellStart(cell);
    for (let block = 0; block < EXTENT_BLOCKS; block++) {
      if (((record.mask >>> block) & 1) === 1) this.redo.delete(start + block);
    }
    await this.#writeOwner(volume, record.extent, cell, frame.lsn);
  }

  async #free(frame: Frame, record: ParsedRecord): Promise<void> {
    await this.#releaseCell(this.#volume(record), record.extent, record.cell, frame.lsn);
  }

  /** A version keeps only some of the blocks that it decided. */
  async #keep(frame: Frame, words: Uint32Array, record: ParsedRecord): Promise<void> {
    const kept = ((words[record.at] ?? 0) >>> 8) & ALL;
    const volume = this.#volume(record);
    const versions = this.#state.map.versions(volume, record.extent);
    const version = versions.find((candidate) => candidate.cell === record.cell);
    if (version === undefined) return;
    version.decided &= kept;
    version.data &= kept;
    this.#place(volume, record.extent, versions);
    await this.#writeOwner(volume, record.extent, record.cell, frame.lsn);
  }

  /** The extent's version in this cell was marked when the set of its replicas changed. */
  async #stamp(frame: Frame, record: ParsedRecord): Promise<void> {
    const cell = this.#cell(record, record.cell);
    const volume = this.#volume(record);
    const versions = this.#state.map.versions(volume, record.extent);
    const version = versions.find((candidate) => candidate.cell === cell);
    // A page written later may show that it is gone.
    if (version === undefined) return;
    version.era = volume.eraOf(volume.birthOf(version.era), record.epoch);
    this.#place(volume, record.extent, versions);
    await this.#writeOwner(volume, record.extent, cell, frame.lsn);
  }

  /** Of a change that turns out to be void the mark stays: it costs a comparison. */
  #mark(words: Uint32Array, record: ParsedRecord): void {
    const { table, marks } = this.#state;
    const own = table.byNumber(record.volume)?.marks;
    // A page written later may show that the volume is deleted.
    if (own === undefined) return;
    const { at } = record;
    if (record.type === DURABLE) {
      marks.drop(own, words[at + 2] ?? 0, getU64(words, at + 3));
      return;
    }
    const head = words[at] ?? 0;
    const mark = {
      mask: (head >>> 8) & ALL,
      epoch: words[at + 3] ?? 0,
      number: getU64(words, at + 4),
    };
    marks.add(own, record.extent, mark, head >>> 24);
  }

  /** Makes `cell` the extent's: a page written later may show a later owner, whose own records follow in the log. */
  async #own(volume: Volume, record: ParsedRecord, cell: number): Promise<void> {
    const { map, table, allocator, media, load } = this.#state;
    const page = media.geometry.ownerPage(cell);
    const at =
      ((await load(page)) >>> 2) + PAGE_ENTRIES + media.geometry.ownerIndex(cell) * OWNER_WORDS;
    const number = media.words[at] ?? 0;
    const extent = media.words[at + 1] ?? 0;
    if (number !== 0 && (number !== volume.number || extent !== record.extent)) {
      const other = table.volumeOrGhost(number);
      const rest = map.versions(other, extent).filter((version) => version.cell !== cell);
      map.setVersions(other, extent, rest);
    }
    if (!allocator.isTaken(cell)) allocator.mark(cell);
  }

  /** The extent loses the version in `cell`, whoever the pages say owns it by now. */
  async #releaseCell(volume: Volume, extent: number, cell: number, lsn: number): Promise<void> {
    const { map, table, allocator, media, cache, load } = this.#state;
    const page = media.geometry.ownerPage(cell);
    const at =
      ((await load(page)) >>> 2) + PAGE_ENTRIES + media.geometry.ownerIndex(cell) * OWNER_WORDS;
    const number = media.words[at] ?? 0;
    const owned = media.words[at + 1] ?? 0;
    if (number !== 0) {
      const owner = table.volumeOrGhost(number);
      map.setVersions(
        owner,
        owned,
        map.versions(owner, owned).filter((version) => version.cell !== cell),
      );
    }
    map.setVersions(
      volume,
      extent,
      map.versions(volume, extent).filter((version) => version.cell !== cell),
    );
    media.words.fill(0, at, at + OWNER_WORDS);
    cache.dirty(page, lsn);
    if (allocator.isTaken(cell)) allocator.unmark(cell);
    const start = media.geometry.cellStart(cell);
    for (let block = 0; block < EXTENT_BLOCKS; block++) this.redo.delete(start + block);
  }

  async #writeOwner(volume: Volume, extent: number, cell: number, lsn: number): Promise<void> {
    const { map, media, cache, load } = this.#state;
    const version = map.versions(volume, extent).find((candidate) => candidate.cell === cell);
    assert(version !== undefined, 'a replayed cell is a version of its extent');
    const page = media.geometry.ownerPage(cell);
    const at =
      ((await load(page)) >>> 2) + PAGE_ENTRIES + media.geometry.ownerIndex(cell) * OWNER_WORDS;
    media.words.set(
      [
        volume.number,
        extent,
        volume.birthOf(version.era),
        volume.epochOf(version.era),
        (version.decided | (version.data << 16)) >>> 0,
        0,
      ],
      at,
    );
    cache.dirty(page, lsn);
  }

  /** After the last frame: no extent may have two versions of one birth. */
  verify(): void {
    const { map, table } = this.#state;
    for (const volume of table.all()) {
      map.forEach(volume, 0, (extent) => {
        const births = map.versions(volume, extent).map((version) => volume.birthOf(version.era));
        if (new Set(births).size !== births.length) {
          throw new Fault('DRIVE_CORRUPT', {
            problem: `extent ${extent} of volume "${volume.uuid}" has two cells of one birth`,
          });
        }
        return true;
      });
    }
  }

  /** Sorted by place. */
  redos(): (readonly [number, Redo])[] {
    return [...this.redo].toSorted((a, b) => a[0] - b[0]);
  }
}
