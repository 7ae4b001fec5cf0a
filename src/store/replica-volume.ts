/**
 * A volume with several replicas, as this drive holds one of them: what src/replication asks of a drive (docs/replication.md, "What the
 * drive keeps"). Its changes leave marks, its versions bear the epochs that its head says, and its record keeps what a replica was shown.
 */

import { type Digest128, digest128 } from '../env/digest.ts';
import { BLOCK_BYTES, type OnDone } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { DriveParts } from './drive-store.ts';
import { NONE, type Version, visibleData } from './extent-map.ts';
import { STAMP, STAMP_WORDS } from './frame-format.ts';
import { EXTENT_BYTES } from './geometry.ts';
import { freeRange, ownRequest } from './own-request.ts';
import { writeOwner } from './owner-entries.ts';
import { lowestBit, type Client, type Request, type RequestKind } from './piece.ts';
import type { TableChanges } from './table-changes.ts';
import type { Volume } from './volume.ts';

/** A change as its head numbers it. Read before the call returns. */
export type MarkedChange = {
  /** The epoch of its mark. */
  readonly epoch: number;
  /** Its number in the life of the head, from 1. */
  readonly number: number;
  /** The epoch that what it changes has from now on: its own, or of a copy that of the source. A newer one stays. */
  readonly stamp: number;
  /** Answered when power loss cannot undo it. */
  readonly fua: boolean;
};

/** Blocks of an extent that some other replica may not hold durably. */
export type MarkedExtent = { readonly extent: number; readonly mask: number };

/** An extent that has data. */
export type SurveyedExtent = {
  readonly extent: number;
  /** Epoch of its last change. */
  readonly stamp: number;
  /** Blocks that read as other than zeros, as far as is known without reading. */
  readonly dataMask: number;
};

/** What two replicas compare of an extent. */
export type ExtentDigest = {
  /** 128 bits of SHA-256 over the mask and the bytes of the blocks that have data. */
  readonly words: Digest128;
  readonly dataMask: number;
  readonly stamp: number;
};

export class ReplicaVolume {
  readonly #parts: DriveParts;
  readonly #changes: TableChanges;
  readonly #volume: Volume;
  readonly #client: Client;

  /** `onDone` gets the token of each request with its errno, never inside the call. */
  constructor(
    parts: DriveParts,
    changes: TableChanges,
    at: { readonly volume: Volume; readonly onDone: OnDone },
  ) {
    this.#parts = parts;
    this.#changes = changes;
    this.#volume = at.volume;
    this.#client = { volume: at.volume, birthMax: Infinity, onDone: at.onDone };
  }

  /** Of the drive: rises when it came back having possibly lost what it took. */
  get life(): number {
    return this.#parts.checkpointer.superblock.life;
  }

  /** What {@link keep} kept last; empty: nothing yet. */
  get seen(): Uint8Array {
    return this.#volume.seen ?? new Uint8Array();
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  // --- Requests: each ends in one onDone ----------------------------------------------------------------------

  read(token: number, firstBlock: number, blockCount: number, address: number): void {
    const request = this.#request('read', token);
    request.offset = firstBlock * BLOCK_BYTES;
    request.end = request.offset + blockCount * BLOCK_BYTES;
    request.address = address;
    this.#parts.core.submit(request);
  }

  /** `address`: of the bytes, which belong to the drive until it answers. */
  write(token: number, range: ByteRange, address: number, change: MarkedChange): void {
    const request = this.#change('write', token, range, change);
    request.address = address;
    this.#parts.core.submit(request);
  }

  zero(
    token: number,
    range: ByteRange,
    change: MarkedChange & { readonly allocate: boolean },
  ): void {
    const request = this.#change('zero', token, range, change);
    request.allocate = change.allocate;
    this.#parts.core.submit(request);
  }

  trim(token: number, range: ByteRange, change: MarkedChange): void {
    this.#parts.core.submit(this.#change('trim', token, range, change));
  }

  flush(token: number): void {
    this.#parts.core.submit(this.#request('flush', token));
  }

  #request(kind: RequestKind, token: number): Request {
    const request = this.#parts.core.request();
    request.client = this.#client;
    request.kind = kind;
    request.token = token;
    return request;
  }

  #change(kind: RequestKind, token: number, range: ByteRange, change: MarkedChange): Request {
    const request = this.#request(kind, token);
    request.offset = range.offsetBytes;
    request.end = range.offsetBytes + range.lengthBytes;
    request.address = 0;
    request.epoch = change.epoch;
    request.number = change.number;
    request.stamp = change.stamp;
    request.fua = change.fua;
    return request;
  }

  // --- What the replica knows ---------------------------------------------------------------------------------

  /**
   * Keeps `seen` and the volume's size, durably, with whatever was stamped before. What a smaller size cuts off is gone, what a larger one
   * adds reads as zeros. `seen`: at most SEEN_BYTES_MAX, copied. Rejects with a Fault where the drive stops.
   */
  keep(seen: Uint8Array, sizeBytes: number): Promise<void> {
    const { table } = this.#parts;
    const volume = this.#volume;
    return this.#changes.alone(async ({ record }) => {
      if (sizeBytes < volume.sizeBytes)
        await freeRange(this.#parts, volume, {
          kind: 'zero',
          offset: sizeBytes,
          end: volume.sizeBytes,
        });
      const changed = table.record(volume, { seen: seen.slice(), sizeBytes });
      await record([{ slot: volume.slot, record: changed }]);
    });
  }

  /** Drops marks of epochs below `epoch`, and of changes numbered below `number`. Losing it leaves marks: it is logged with the next change. */
  dropMarks(epoch: number, number: number): void {
    const { marks } = this.#volume;
    if (marks === undefined) return;
    this.#parts.drive.marks.drop(marks, epoch, number);
    marks.dropEpoch = epoch;
    marks.dropNumber = number;
    marks.isDropBehind = true;
  }

  /** All marked extents, in order. Of coarse marks (marks.ts) each extent of the volume that they are of. */
  marks(): MarkedExtent[] {
    const marked: MarkedExtent[] = [];
    this.#volume.marks?.forEach(0, this.#extentCount, (extent, { mask }) =>
      marked.push({ extent, mask }),
    );
    return marked.toSorted((a, b) => a.extent - b.extent);
  }

  get #extentCount(): number {
    return Math.ceil(this.#volume.sizeBytes / EXTENT_BYTES);
  }

  /**
   * Gives all marked extents this epoch as that of their last change, unless theirs is newer: in the log when it resolves, durable with
   * the next {@link keep}. No change of an older epoch may be under way. Rejects with a Fault where the drive stops.
   */
  async stamp(epoch: number): Promise<void> {
    const extents: number[] = [];
    const { map } = this.#parts.drive;
    this.#volume.marks?.forEach(0, this.#extentCount, (extent) => {
      if (map.single(this.#volume, extent) !== NONE) extents.push(extent);
    });
    for (const extent of extents) await this.#stampExtent(extent, epoch);
  }

  async #stampExtent(extent: number, epoch: number): Promise<void> {
    const { drive, load, turns } = this.#parts;
    const { geometry } = drive.media;
    for (;;) {
      const top = this.#versions(extent)[0];
      if (top === undefined || this.#volume.epochOf(top.era) >= epoch) return;
      const page = geometry.ownerPage(top.cell);
      if (typeof drive.cache.find(page) !== 'number') await load(page);
      else if (this.#stampNow(extent, top.cell, epoch)) return;
      else await turns.nextTurn();
      const { fault } = drive.media;
      if (fault !== undefined) throw new Fault('DRIVE_IO', { drive: '', problem: fault });
    }
  }

  /** False where the log has no room. */
  #stampNow(extent: number, cell: number, epoch: number): boolean {
    const { log, map, media } = this.#parts.drive;
    if (!log.reserve(STAMP_WORDS, 0, true)) return false;
    const volume = this.#volume;
    const [top, ...rest] = map.versions(volume, extent);
    if (top?.cell !== cell) return true;
    const birth = volume.birthOf(top.era);
    const lsn = log.openLsn;
    const at = log.appendRecord(STAMP_WORDS);
    media.words.set([STAMP, volume.number, extent, cell, birth, epoch], at);
    map.setVersions(volume, extent, [{ ...top, era: volume.eraOf(birth, epoch) }, ...rest]);
    const masks = (top.decided | (top.data << 16)) >>> 0;
    writeOwner(this.#parts.drive, cell, lsn, [volume.number, extent, birth, epoch, masks, 0]);
    return true;
  }

  // --- Comparing replicas -------------------------------------------------------------------------------------

  #versions(extent: number): Version[] {
    return this.#parts.drive.map.versions(this.#volume, extent);
  }

  /** The extents in [first, first + count) that have data, in order: what changed since an epoch has a higher stamp. */
  survey(first: number, count: number): SurveyedExtent[] {
    const end = Math.min(first + count, this.#extentCount);
    const found: SurveyedExtent[] = [];
    for (let extent = first; extent < end; extent++) {
      const versions = this.#versions(extent);
      const dataMask = visibleData(versions);
      if (dataMask !== 0) found.push({ extent, stamp: this.#stampOf(versions), dataMask });
    }
    return found;
  }

  #stampOf([top]: readonly Version[]): number {
    return top === undefined ? 0 : this.#volume.epochOf(top.era);
  }

  /**
   * Reads an extent into 64 KiB of arena memory at `address`, which is the drive's until it resolves, and digests what has data. Resolves
   * with an errno where a block cannot be read or does not verify. No change of the extent may be under way.
   */
  async digest(
    extent: number,
    address: number,
  ): Promise<ExtentDigest | { readonly errno: number }> {
    const { media } = this.#parts.drive;
    const offset = extent * EXTENT_BYTES;
    const end = Math.min(offset + EXTENT_BYTES, this.#volume.sizeBytes);
    const versions = this.#versions(extent);
    const dataMask = visibleData(versions);
    const errno = await ownRequest(this.#parts, this.#volume, {
      kind: 'read',
      offset,
      end,
      address,
    });
    if (errno !== 0) return { errno };
    const parts: Uint8Array[] = [Uint8Array.of(dataMask & 0xff, dataMask >>> 8)];
    for (let mask = dataMask; mask !== 0; mask &= mask - 1) {
      const at = address + lowestBit(mask) * BLOCK_BYTES;
      parts.push(media.bytes.subarray(at, at + BLOCK_BYTES));
    }
    return { words: digest128(parts), dataMask, stamp: this.#stampOf(versions) };
  }
}

export type ByteRange = { readonly offsetBytes: number; readonly lengthBytes: number };
