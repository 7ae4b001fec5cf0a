/**
 * The volume table: volumes, snapshots and tombstones of a drive, one record of 504 bytes each in metadata pages. A change is logged
 * whole (TABLE record) and forced durable before it is answered.
 */

import { assert } from '../lib/assert.ts';
import { Refusal } from '../model/errors.ts';
import { TABLE, TABLE_RECORD_WORDS, TABLE_WORDS } from './frame-format.ts';
import { RECORDS_PER_TABLE_PAGE } from './geometry.ts';
import type { Log } from './log.ts';
import type { MarkBook } from './marks.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';
import { PAGE_ENTRIES } from './page-format.ts';
import {
  formatTableRecord,
  parseTableRecord,
  Volume,
  type Snapshot,
  type TableRecord,
  type TakenRecord,
} from './volume.ts';

export class VolumeTable {
  readonly #media: Media;
  readonly #cache: PageCache;
  readonly #load: (page: number) => Promise<number>;
  readonly #drive: string;
  readonly #marks: MarkBook;
  readonly #volumes = new Map<number, Volume>();
  /** Of each uuid the number of the last volume that had it. Numbers begin with 1. */
  readonly #numbers = new Map<string, number>();
  /** What each slot holds; a missing one is free. */
  readonly #slots = new Map<number, TableRecord>();
  nextNumber: number;

  constructor(
    media: Media,
    cache: PageCache,
    options: {
      readonly load: (page: number) => Promise<number>;
      readonly nextNumber: number;
      readonly marks: MarkBook;
      /** The drive's path, for messages. */
      readonly drive: string;
    },
  ) {
    this.#media = media;
    this.#cache = cache;
    this.#load = options.load;
    this.#drive = options.drive;
    this.#marks = options.marks;
    this.nextNumber = options.nextNumber;
  }

  /** Every volume, ghosts included: numbers that pages or records name though the table does not (yet, or any more). */
  all(): Iterable<Volume> {
    return this.#volumes.values();
  }

  /** What each slot holds; free ones are left out. */
  records(): Iterable<readonly [slot: number, record: TableRecord]> {
    return this.#slots;
  }

  byUuid(uuid: string): Volume | undefined {
    const volume = this.#volumes.get(this.#numbers.get(uuid) ?? 0);
    return volume !== undefined && this.#slots.has(volume.slot) ? volume : undefined;
  }

  byNumber(number: number): Volume | undefined {
    return this.#volumes.get(number);
  }

  volumeOrGhost(number: number): Volume {
    const known = this.#volumes.get(number);
    if (known !== undefined) return known;
    const ghost = new Volume({
      number,
      slot: -1,
      uuid: number.toString(16).padStart(32, '0'),
      sizeBytes: 0,
      epoch: 0,
      birth: 1,
      attachId: undefined,
    });
    this.#volumes.set(number, ghost);
    return ghost;
  }

  /** Takes in the records of a loaded page. */
  enterPage(page: number, address: number): void {
    for (let index = 0; index < RECORDS_PER_TABLE_PAGE; index++) {
      const at = (address >>> 2) + PAGE_ENTRIES + index * TABLE_RECORD_WORDS;
      this.#enter(page * RECORDS_PER_TABLE_PAGE + index, parseTableRecord(this.#media.words, at));
    }
  }

  #enter(slot: number, record: TableRecord): void {
    const before = this.#slots.get(slot);
    if (before?.kind === 'snapshot') this.#dropSnapshot(before.number, before.birth);
    if (record.kind === 'free') {
      this.#slots.delete(slot);
      return;
    }
    this.#slots.set(slot, record);
    this.nextNumber = Math.max(this.nextNumber, record.number + 1);
    if (record.kind === 'volume') this.#enterVolume(slot, record);
    else if (record.kind === 'snapshot') {
      const { birth, state } = record;
      const volume = this.volumeOrGhost(record.number);
      const snapshots = [...volume.snapshots, { birth, slot, state }];
      volume.snapshots = snapshots.toSorted((a, b) => a.birth - b.birth);
    }
  }

  #enterVolume(slot: number, record: TakenRecord): void {
    const known = this.#volumes.get(record.number);
    const volume = known?.slot === slot ? known : new Volume({ ...record, slot });
    if (known !== undefined && known !== volume) {
      volume.leaves = known.leaves;
      volume.snapshots = known.snapshots;
      volume.adoptEras(known);
      volume.marks = known.marks;
    }
    volume.sizeBytes = record.sizeBytes;
    volume.epoch = record.epoch;
    volume.birth = record.birth;
    volume.attachId = record.attachId;
    volume.state = record.state;
    volume.seen = record.seen;
    if (record.seen !== undefined) volume.marks ??= this.#marks.open();
    volume.eraChanged();
    volume.fitLeaves(record.sizeBytes);
    this.#volumes.set(record.number, volume);
    this.#numbers.set(record.uuid, record.number);
  }

  #dropSnapshot(number: number, birth: number): void {
    const volume = this.volumeOrGhost(number);
    volume.snapshots = volume.snapshots.filter((snapshot) => snapshot.birth !== birth);
  }

  /** A TABLE record of the log at recovery. */
  async replay(words: Uint32Array, at: number, lsn: number): Promise<void> {
    const slot = words[at + 1] ?? 0;
    const page = Math.floor(slot / RECORDS_PER_TABLE_PAGE);
    const address = await this.#load(page);
    this.#store(slot, words.subarray(at + 2, at + TABLE_WORDS), { address, page, lsn });
    this.#enter(slot, parseTableRecord(words, at + 2));
  }

  #store(
    slot: number,
    words: Uint32Array,
    to: { readonly address: number; readonly page: number; readonly lsn: number },
  ): void {
    const index = slot % RECORDS_PER_TABLE_PAGE;
    this.#media.words.set(words, (to.address >>> 2) + PAGE_ENTRIES + index * TABLE_RECORD_WORDS);
    this.#cache.dirty(to.page, to.lsn);
  }

  /**
   * Changes records, all in one frame. Resolves once they are in the open frame, with its LSN: the caller waits for that to be durable.
   * `whenRoom` resolves when the log may have room again.
   */
  async change(
    log: Log,
    records: readonly { readonly slot: number; readonly record: TableRecord }[],
    whenRoom: () => Promise<void>,
  ): Promise<number> {
    assert(records.length <= 7, 'the records of one change fit a frame');
    for (;;) {
      for (const { slot } of records) await this.#load(Math.floor(slot / RECORDS_PER_TABLE_PAGE));
      const addresses = records.map(({ slot }) =>
        this.#cache.find(Math.floor(slot / RECORDS_PER_TABLE_PAGE)),
      );
      const present = addresses.every((address) => typeof address === 'number');
      if (present && log.reserve(records.length * TABLE_WORDS, 0, true)) break;
      if (present) await whenRoom();
    }
    const lsn = log.openLsn;
    for (const { slot, record } of records) {
      const at = log.appendRecord(TABLE_WORDS);
      const { words } = this.#media;
      words[at] = TABLE;
      words[at + 1] = slot;
      formatTableRecord(words, at + 2, record);
      const page = Math.floor(slot / RECORDS_PER_TABLE_PAGE);
      const address = this.#cache.find(page);
      assert(typeof address === 'number', 'the table page is present');
      this.#store(slot, words.subarray(at + 2, at + TABLE_WORDS), { address, page, lsn });
      this.#enter(slot, record);
    }
    return lsn;
  }

  /** A free slot. Tombstones are given up, oldest first, when there is none. Throws a Refusal DRIVE_TABLE_FULL where there are none of those either. */
  freeSlot(): number {
    const count = this.#media.geometry.layout.tablePages * RECORDS_PER_TABLE_PAGE;
    for (let slot = 0; slot < count; slot++) if (!this.#slots.has(slot)) return slot;
    let oldest = -1;
    let lowest = Infinity;
    for (const [slot, record] of this.#slots) {
      if (record.kind !== 'tombstone' || record.number >= lowest) continue;
      oldest = slot;
      lowest = record.number;
    }
    if (oldest < 0) {
      throw new Refusal('DRIVE_TABLE_FULL', { drive: this.#drive, recordCount: count });
    }
    return oldest;
  }

  /** How many more volumes and snapshots there is a slot for. */
  get freeCount(): number {
    let taken = 0;
    for (const { kind } of this.#slots.values()) if (kind !== 'tombstone') taken++;
    return this.#media.geometry.layout.tablePages * RECORDS_PER_TABLE_PAGE - taken;
  }

  /** The record of a volume as it is, with changes. */
  record(volume: Volume, changes: Partial<TakenRecord> = {}): TakenRecord {
    return {
      kind: 'volume',
      number: volume.number,
      uuid: volume.uuid,
      sizeBytes: volume.sizeBytes,
      epoch: volume.epoch,
      birth: volume.birth,
      state: volume.state,
      attachId: volume.attachId,
      seen: volume.seen,
      ...changes,
    };
  }

  snapshotRecord(volume: Volume, snapshot: Pick<Snapshot, 'birth' | 'state'>): TableRecord {
    return {
      kind: 'snapshot',
      number: volume.number,
      uuid: volume.uuid,
      sizeBytes: volume.sizeBytes,
      epoch: volume.epoch,
      birth: snapshot.birth,
      state: snapshot.state,
      attachId: undefined,
      seen: undefined,
    };
  }

  /** A deleted volume's map entry goes; its number is never used again. */
  forget(volume: Volume): void {
    if (volume.marks !== undefined) this.#marks.close(volume.marks);
    this.#volumes.delete(volume.number);
    if (this.#numbers.get(volume.uuid) === volume.number) this.#numbers.delete(volume.uuid);
  }
}
