/**
 * Snapshots of volumes: a snapshot takes the volume's current birth number and leaves it the next one. Nothing is copied; versions
 * born up to that number are the snapshot's from then on, and the volume's next write to such an extent makes a new version.
 *
 * Deleting one: its record says 'deleting', durably; then each extent's versions that only it saw lose what nobody sees any more
 * (RETAG: keep these blocks) or go (FREE); then the record goes. A crash in between starts the walk again: each step is one record.
 */

import { Refusal } from '../model/errors.ts';
import { releaseCell, writeOwner } from './owner-entries.ts';
import type { DriveParts } from './drive-store.ts';
import type { Version } from './extent-map.ts';
import { FREE, FREE_WORDS, RETAG, RETAG_WORDS } from './frame-format.ts';
import type { TableChanges, TableTurn } from './table-changes.ts';
import type { Volume } from './volume.ts';

/** Extents whose versions are looked at between two waits for the drive's flush. */
const PRUNED_AT_ONCE = 1024;

/** By cell: the blocks that a version decided when it was looked at, durable by now. */
type Cover = ReadonlyMap<number, number>;
/** The snapshot that goes, and what hides its blocks. */
type Doom = { readonly birth: number; readonly cover: Cover };

export class SnapshotKeeper {
  readonly #parts: DriveParts;
  readonly #changes: TableChanges;
  readonly #running = new Set<Promise<void>>();

  constructor(parts: DriveParts, changes: TableChanges) {
    this.#parts = parts;
    this.#changes = changes;
  }

  /** Freezes what the volume holds; resolves with the snapshot's birth once durable, together with all acknowledged before. */
  async create(volume: Volume, turn: TableTurn): Promise<number> {
    const { table } = this.#parts;
    const { birth } = volume;
    const slot = table.freeSlot();
    const records = [
      { slot, record: table.snapshotRecord(volume, { birth, state: 'live' }) },
      { slot: volume.slot, record: table.record(volume, { birth: birth + 1 }) },
    ];
    await turn.record(records);
    return birth;
  }

  /** Marks a snapshot as being deleted; durable when it resolves. To be followed by {@link resume}. */
  async delete(
    volume: Volume,
    { birth, turn }: { readonly birth: number; readonly turn: TableTurn },
  ): Promise<void> {
    const { table } = this.#parts;
    const snapshot = volume.snapshots.find((candidate) => candidate.birth === birth);
    if (snapshot === undefined)
      throw new Refusal('VOLUME_NOT_FOUND', { volume: `${volume.uuid}@${birth}`, hint: '' });
    if (snapshot.state === 'deleting') return;
    const record = table.snapshotRecord(volume, { birth, state: 'deleting' });
    await turn.record([{ slot: snapshot.slot, record }]);
  }

  /** Goes on with snapshots that a dead process was deleting. */
  resume(volume: Volume): void {
    const snapshot = volume.snapshots.find((candidate) => candidate.state === 'deleting');
    if (snapshot === undefined) return;
    const work: Promise<void> = this.#drop(volume, snapshot.birth)
      .then(() => this.resume(volume))
      .catch(() => undefined)
      .finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** A volume is being deleted: so are its snapshots. */
  async dropAll(volume: Volume): Promise<void> {
    await this.settled();
    for (const { birth } of volume.snapshots.slice()) await this.#drop(volume, birth);
  }

  /** Frees whatever a volume that is being deleted still has: versions below holes that its trims made. */
  async freeAll(volume: Volume): Promise<void> {
    const { drive, turns } = this.#parts;
    const extents: number[] = [];
    drive.map.forEach(volume, 0, (extent) => extents.push(extent) > 0);
    for (const extent of extents) {
      for (;;) {
        const [version] = drive.map.versions(volume, extent);
        if (version === undefined) break;
        if (!this.#change(volume, extent, version, 0)) await turns.nextTurn();
      }
    }
  }

  async #drop(volume: Volume, birth: number): Promise<void> {
    const { drive } = this.#parts;
    const extents: number[] = [];
    drive.map.forEach(volume, 0, (extent) => {
      if (drive.map.single(volume, extent) === -1) extents.push(extent);
      return true;
    });
    for (let first = 0; first < extents.length; first += PRUNED_AT_ONCE) {
      await this.#pruneAll(volume, extents.slice(first, first + PRUNED_AT_ONCE), birth);
    }
    await this.#changes.alone(async (turn) => {
      // Looked for now: another walk may have ended first, and the slot may be another record's.
      const snapshot = volume.snapshots.find((candidate) => candidate.birth === birth);
      if (snapshot !== undefined)
        await turn.record([{ slot: snapshot.slot, record: { kind: 'free' } }]);
    });
  }

  /**
   * Takes from the versions of extents what no reader sees once the snapshot is gone. What hides a block is made durable before the
   * block goes: after a power cut a newer write may be void, and the older content is what counts then.
   */
  async #pruneAll(volume: Volume, extents: readonly number[], birth: number): Promise<void> {
    const { drive, turns } = this.#parts;
    const covers = new Map<number, Cover>();
    for (const extent of extents) {
      const versions = drive.map.versions(volume, extent);
      covers.set(extent, new Map(versions.map(({ cell, decided }) => [cell, decided])));
    }
    while (!drive.log.seal()) await turns.nextTurn();
    await turns.whenDurable(drive.log.sealedLsn);
    for (const [extent, cover] of covers) await this.#prune(volume, extent, { birth, cover });
  }

  async #prune(volume: Volume, extent: number, doom: Doom): Promise<void> {
    const { drive, turns } = this.#parts;
    for (;;) {
      const versions = drive.map.versions(volume, extent);
      const doomed = versions.find((version) => {
        const seen = this.#seen(volume, versions, version, doom);
        return seen !== version.decided;
      });
      if (doomed === undefined) return;
      const kept = this.#seen(volume, versions, doomed, doom);
      if (!this.#change(volume, extent, doomed, kept)) await turns.nextTurn();
    }
  }

  /** The blocks of a version that a snapshot other than `birth`, or the volume itself, reads from it, as far as is durable. */
  #seen(
    volume: Volume,
    versions: readonly Version[],
    version: Version,
    { birth, cover }: Doom,
  ): number {
    const own = volume.birthOf(version.era);
    const readers = volume.snapshots
      .map((snapshot) => snapshot.birth)
      .filter((reader) => reader !== birth && reader >= own);
    let seen = 0;
    for (const reader of [...readers, Infinity]) {
      let hidden = 0;
      for (const other of versions) {
        const otherBirth = volume.birthOf(other.era);
        if (otherBirth > own && otherBirth <= reader) {
          hidden |= other.decided & (cover.get(other.cell) ?? 0);
        }
      }
      seen |= version.decided & ~hidden;
    }
    return seen;
  }

  /** Logs and makes one step; false when something it needs is not there yet. */
  #change(volume: Volume, extent: number, version: Version, kept: number): boolean {
    const { drive } = this.#parts;
    const { log, map, media, cache, payloads } = drive;
    if (typeof cache.find(media.geometry.ownerPage(version.cell)) !== 'number') return false;
    if (!log.reserve(Math.max(FREE_WORDS, RETAG_WORDS), 0, true)) return false;
    const lsn = log.openLsn;
    const others = map.versions(volume, extent);
    const index = others.findIndex((candidate) => candidate.cell === version.cell);
    const at = log.appendRecord(kept === 0 ? FREE_WORDS : RETAG_WORDS);
    media.words[at] = kept === 0 ? FREE : RETAG | (kept << 8);
    media.words[at + 1] = volume.number;
    media.words[at + 2] = extent;
    media.words[at + 3] = version.cell;
    if (kept === 0) {
      map.setVersions(volume, extent, others.toSpliced(index, 1));
      releaseCell(drive, version.cell, lsn);
      volume.cellCount--;
      return true;
    }
    media.words[at + 4] = volume.birthOf(version.era);
    const start = media.geometry.cellStart(version.cell);
    for (let block = 0; block < 16; block++) {
      if (((version.data & ~kept) >>> block) & 1) payloads.supersede(start + block, lsn);
    }
    const left = { ...version, decided: kept, data: version.data & kept };
    drive.softTrims.add(version.cell, version.data & ~kept, lsn);
    map.setVersions(volume, extent, others.toSpliced(index, 1, left));
    writeOwner(drive, version.cell, lsn, [
      volume.number,
      extent,
      volume.birthOf(left.era),
      volume.epochOf(left.era),
      (left.decided | (left.data << 16)) >>> 0,
      0,
    ]);
    return true;
  }
}
