/**
 * Changes of one piece: writes, zeros with space, trims. A change first looks for everything it needs (a cell, metadata pages, room in
 * the log); whatever is missing it waits for and starts over. Then it takes effect in one go, without returning to the reactor:
 * record in the open frame, masks and checksums in their pages, map, data write submitted. It is over when the frame, all
 * frames before it, and its data writes have completed.
 *
 * Where the bytes go (drive-store.md, O3 and O4):
 *  - never-written or durably trimmed position of a cell of this version: directly to it;
 *  - a new extent: directly to a new cell;
 *  - an extent shared with a snapshot, or most of a cell and all its data: directly to a new cell, and only when they are there goes the
 *    record, which hides or frees the old one: a write that the drive refuses leaves the old content;
 *  - anything else would overwrite or hide what may be durable: payload in the log, applied later.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { EIO, ENOSPC, EROFS } from '../model/errno.ts';
import type { Port } from '../env/io.ts';
import type { DriveState } from './drive-state.ts';
import { NONE, type Version, visibleData } from './extent-map.ts';
import { DIRECT, NO_CELL, PAYLOAD, TRIM, TRIM_WORDS, WRITE, WRITE_WORDS } from './frame-format.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import { CHANGE_MARK_WORDS, logMark } from './mark-log.ts';
import { releaseCell, writeOwner } from './owner-entries.ts';
import { NO_PAGE } from './page-cache.ts';
import { PAGE_ENTRIES } from './page-format.ts';
import { bitCount, lowestBit, runLength, type Piece } from './piece.ts';
import type { Volume } from './volume.ts';

const ALL = 0xffff;
/** A write of at least this many blocks that covers all data of its cell goes to a new cell: one write instead of two. */
const REDIRECT_BLOCKS_MIN = 8;

export type ChangerEvents = {
  readonly onChanged: (piece: Piece) => void;
  /** The change waits for the log to have room: call `change` again on Log's onRoom. */
  readonly onLogFull: (piece: Piece) => void;
  /** The change waits for freed cells to become usable: call `change` again when limbo has settled. */
  readonly onDriveFull: (piece: Piece) => void;
  /** The data is in the piece's new cell: call `change` again. */
  readonly onPlaced: (piece: Piece) => void;
  /** The change is in frame `piece.lsn`: call `frameWritten` when all frames up to it have completed. */
  readonly onTaken: (piece: Piece) => void;
};

export class Changer {
  readonly #drive: DriveState;
  readonly #pieces: readonly Piece[];
  readonly #events: ChangerEvents;
  readonly #port: Port;
  /** Where the change under way goes: decided by #planWrite, used before returning to the reactor. */
  #target: Version | undefined;
  #direct = 0;
  #payload = 0;
  #freedCell = NONE;
  /** Pages that the change under way alters. */
  readonly #pages = new Int32Array(3);

  constructor(drive: DriveState, pieces: readonly Piece[], events: ChangerEvents) {
    this.#drive = drive;
    this.#pieces = pieces;
    this.#events = events;
    this.#port = drive.media.io.port((index, result) => this.#onIo(index, result));
  }

  /** Makes the change, or waits for what it lacks and is then to be called again. Ends in onChanged. */
  change(piece: Piece): void {
    piece.stage = 'change';
    const volume = piece.request?.client?.volume;
    assert(volume !== undefined, 'a piece under way has a volume');
    if (this.#drive.media.fault !== undefined) this.#fail(piece, EIO);
    else if (this.#drive.ownersLost) this.#fail(piece, EROFS);
    else if (piece.kind === 'trim') this.#trim(piece, volume);
    else this.#write(piece, volume);
  }

  #fail(piece: Piece, errno: number): void {
    piece.errno = errno;
    this.#returnCell(piece);
    this.#events.onChanged(piece);
  }

  // --- Writes -------------------------------------------------------------------------------------------------

  #write(piece: Piece, volume: Volume): void {
    const { map, log } = this.#drive;
    const versions = this.#own(volume, piece.extent);
    if (!this.#planWrite(piece, volume, versions)) return;
    const target = this.#target;
    assert(target !== undefined, 'a planned write has a target');
    const era = this.#era(piece, volume, target);
    const changesOwner =
      (target.data & piece.mask) !== piece.mask ||
      (target.decided & piece.mask) !== piece.mask ||
      target.era !== era ||
      this.#freedCell !== NONE;
    if (!this.#pagesPresent(piece, target.cell, changesOwner)) return;
    const payloads = bitCount(this.#payload);
    const runs = Math.min(EXTENT_BLOCKS, bitCount(piece.mask) + 1) * (1 + WRITE_WORDS);
    if (!log.reserve(runs + markWords(volume), payloads, false)) {
      this.#events.onLogFull(piece);
      return;
    }
    const lsn = log.openLsn;
    piece.lsn = lsn;
    piece.stage = 'taking';
    piece.pending = 2;
    this.#record(piece, volume, target, era);
    logMark(this.#drive, volume, piece);
    this.#commit(piece, volume, versions, { ...target, era });
    if (changesOwner) this.#ownerEntry(target.cell, volume, piece.extent, lsn);
    if (this.#freedCell !== NONE) releaseCell(this.#drive, this.#freedCell, lsn);
    piece.newCell = -1;
    if (!piece.placed) this.#submitDirect(piece, target.cell);
    piece.pending--;
    log.sealEagerly();
    assert(map.single(volume, piece.extent) !== NONE, 'a written extent is mapped');
    this.#events.onTaken(piece);
  }

  /** The versions of an extent; fast for the usual single one. */
  #own(volume: Volume, extent: number): Version[] {
    const { map } = this.#drive;
    const cell = map.single(volume, extent);
    if (cell === NONE) return [];
    if (cell !== -1) return [{ cell, decided: ALL, data: map.data, era: map.era }];
    return map.versions(volume, extent);
  }

  /** The era that the change gives its version, or the one to be made. A replica's head says which epoch, and none goes back. */
  #era(piece: Piece, volume: Volume, { era }: Version): number {
    const birth = era < 0 ? volume.birth : volume.birthOf(era);
    if (volume.marks === undefined) return volume.eraOf(birth, volume.epoch);
    const known = era < 0 ? -1 : volume.epochOf(era);
    const stamp = piece.request?.stamp ?? 0;
    return known >= stamp ? era : volume.eraOf(birth, stamp);
  }

  /** Decides where the blocks go; false when the piece waits for space or has failed. */
  #planWrite(piece: Piece, volume: Volume, versions: readonly Version[]): boolean {
    const top = versions[0];
    this.#freedCell = NONE;
    this.#payload = 0;
    this.#direct = piece.mask;
    if (top === undefined || volume.birthOf(top.era) <= volume.newestSnapshot) {
      if (!this.#takeCell(piece)) return false;
      if (top !== undefined && !piece.placed) return this.#place(piece);
      this.#target = {
        cell: piece.newCell,
        decided: top === undefined ? ALL : 0,
        data: 0,
        era: -1,
      };
      return true;
    }
    this.#target = top;
    const redirects =
      versions.length === 1 &&
      (top.data & ~piece.mask) === 0 &&
      (top.data & piece.mask) !== 0 &&
      bitCount(piece.mask) >= REDIRECT_BLOCKS_MIN;
    if (redirects && (piece.newCell >= 0 || this.#spareCell(piece))) {
      if (!piece.placed) return this.#place(piece);
      this.#freedCell = top.cell;
      this.#target = { cell: piece.newCell, decided: ALL, data: 0, era: top.era };
      return true;
    }
    this.#returnCell(piece);
    this.#direct = this.#directMask(piece, top);
    if (versions.length > 1) this.#direct &= ~visibleData(versions.slice(1));
    this.#payload = piece.mask & ~this.#direct;
    return true;
  }

  /** Writes a piece's data to its new cell, before the record that names it. False: the piece waits for it. */
  #place(piece: Piece): false {
    piece.stage = 'placing';
    this.#submitDirect(piece, piece.newCell);
    return false;
  }

  /** While the piece waited, another change gave the extent a cell: the one taken for it is not needed. */
  #returnCell(piece: Piece): void {
    if (piece.newCell >= 0) this.#drive.allocator.unmark(piece.newCell);
    piece.newCell = -1;
    piece.placed = false;
  }

  /** Of the piece's blocks, those whose positions in the version's cell durably hold nothing. */
  #directMask(piece: Piece, top: Version): number {
    const { media, payloads, softTrims, log } = this.#drive;
    let direct = piece.mask & ~top.data & ~softTrims.mask(top.cell, log.durableLsn);
    if (direct === 0) return 0;
    const start = media.geometry.cellStart(top.cell);
    for (let mask = direct; mask !== 0; mask &= mask - 1) {
      const block = lowestBit(mask);
      if (payloads.mayBeApplied(start + block)) direct &= ~(1 << block);
    }
    return direct;
  }

  /** A cell for this piece; false when it waits for one or there is none. */
  #takeCell(piece: Piece): boolean {
    if (piece.newCell >= 0 || this.#spareCell(piece)) return true;
    if (piece.kind === 'trim' && this.#takeReserved(piece)) return true;
    if (this.#drive.allocator.limboCount > 0) this.#events.onDriveFull(piece);
    else this.#fail(piece, ENOSPC);
    return false;
  }

  #spareCell(piece: Piece): boolean {
    const { allocator, holeReserve } = this.#drive;
    if (allocator.freeCount <= holeReserve) return false;
    piece.newCell = allocator.take();
    return piece.newCell >= 0;
  }

  #takeReserved(piece: Piece): boolean {
    piece.newCell = this.#drive.allocator.take();
    return piece.newCell >= 0;
  }

  /** Whether the pages that the change alters are there; otherwise the piece waits for the first that is not, or has failed. */
  #pagesPresent(piece: Piece, cell: number, owner: boolean): boolean {
    const { cache, media } = this.#drive;
    const { geometry } = media;
    const pages = this.#pages;
    pages[0] = piece.kind === 'trim' ? NO_PAGE : geometry.checksumPage(cell);
    pages[1] = owner ? geometry.ownerPage(cell) : NO_PAGE;
    pages[2] = this.#freedCell === NONE ? NO_PAGE : geometry.ownerPage(this.#freedCell);
    const missing = cache.findAll(pages);
    if (missing === NO_PAGE) return true;
    if (missing === 'rotten') this.#fail(piece, EIO);
    else cache.wait(missing, piece.index);
    return false;
  }

  /** Appends one WRITE record for each run of blocks that go the same way. */
  #record(piece: Piece, volume: Volume, target: Version, era: number): void {
    let freed = this.#freedCell;
    for (let from = lowestBit(piece.mask); from < EXTENT_BLOCKS;) {
      const direct = ((this.#direct >>> from) & 1) === 1;
      const count = runLength(direct ? this.#direct : this.#payload, from);
      const at = this.#drive.log.appendRecord(WRITE_WORDS + count);
      const { words } = this.#drive.media;
      words[at] = WRITE | (from << 8) | (count << 16) | ((direct ? DIRECT : PAYLOAD) << 24);
      words[at + 1] = volume.number;
      words[at + 2] = piece.extent;
      words[at + 3] = target.cell;
      words[at + 4] = volume.birthOf(era);
      words[at + 5] = volume.epochOf(era);
      words[at + 6] = freed === NONE ? NO_CELL : freed;
      freed = NONE;
      this.#blocks(piece, volume, { target, from, count, direct, sums: at + WRITE_WORDS });
      from += count;
      while (from < EXTENT_BLOCKS && ((piece.mask >>> from) & 1) === 0) from++;
    }
  }

  /** Checksums of a run of blocks, into the record and their page; payload is copied into the frame. */
  #blocks(
    piece: Piece,
    volume: Volume,
    run: { target: Version; from: number; count: number; direct: boolean; sums: number },
  ): void {
    const { media, cache, log, payloads } = this.#drive;
    const { geometry, words, bytes } = media;
    const page = geometry.checksumPage(run.target.cell);
    const address = cache.find(page);
    assert(typeof address === 'number', 'the checksum page is present');
    const sums = (address >>> 2) + PAGE_ENTRIES + geometry.checksumIndex(run.target.cell);
    const start = geometry.cellStart(run.target.cell);
    for (let index = 0; index < run.count; index++) {
      const block = run.from + index;
      let source = piece.base + block * BLOCK_BYTES;
      if (!run.direct) {
        const slot = log.appendPayload();
        const to = log.blockAddress(slot);
        bytes.copyWithin(to, source, source + BLOCK_BYTES);
        source = to;
        payloads.add(slot, start + block, piece.lsn);
      }
      const seed = piece.extent * EXTENT_BLOCKS + block;
      const sum = media.checksum(source, BLOCK_BYTES, seed, volume.number);
      words[run.sums + index] = sum;
      words[sums + block] = sum;
    }
    cache.dirty(page, piece.lsn);
    if (run.direct) media.counters.directBlocks += run.count;
    else media.counters.payloadBlocks += run.count;
  }

  /** Enters the new state of the extent into the map. */
  #commit(piece: Piece, volume: Volume, versions: Version[], target: Version): void {
    const version = {
      cell: target.cell,
      decided: target.decided | piece.mask,
      data: target.data | piece.mask,
      era: target.era,
    };
    const { map } = this.#drive;
    if (
      versions.length <= 1 &&
      (versions[0] === undefined || this.#replaces(versions[0], target))
    ) {
      map.setSingle(volume, piece.extent, version);
    } else if (versions[0]?.cell === target.cell) {
      map.setVersions(volume, piece.extent, [version, ...versions.slice(1)]);
    } else {
      map.setVersions(volume, piece.extent, [version, ...versions]);
    }
    if (piece.newCell >= 0 && this.#freedCell === NONE) volume.cellCount++;
  }

  #replaces(old: Version, target: Version): boolean {
    return old.cell === target.cell || old.cell === this.#freedCell;
  }

  #submitDirect(piece: Piece, cell: number): void {
    const { io, fd, geometry, counters } = this.#drive.media;
    for (let from = lowestBit(this.#direct); from < EXTENT_BLOCKS;) {
      const count = runLength(this.#direct, from);
      const length = count * BLOCK_BYTES;
      piece.lengths[from] = length;
      piece.pending++;
      counters.writes++;
      if (piece.stage === 'placing') this.#drive.log.dirtyBytes += length;
      else this.#drive.log.addData(length);
      const position = (geometry.cellStart(cell) + from) * BLOCK_BYTES;
      const address = piece.base + from * BLOCK_BYTES;
      io.write(this.#port, piece.index * EXTENT_BLOCKS + from, fd, position, address, length);
      from += count;
      while (from < EXTENT_BLOCKS && ((this.#direct >>> from) & 1) === 0) from++;
    }
  }

  #onIo(index: number, result: number): void {
    this.#drive.media.activity++;
    const piece = this.#pieces[index >>> 4];
    if (piece === undefined) return;
    if (result !== piece.lengths[index & 15]) piece.errno = EIO;
    if (piece.stage === 'placing') {
      if (--piece.pending === 0) this.#endPlacing(piece);
      return;
    }
    // After an error the record is without its bytes: the block, which held nothing, answers EIO until it is written again.
    this.#drive.log.dataDone(piece.lsn);
    this.#partDone(piece);
  }

  #endPlacing(piece: Piece): void {
    piece.placed = true;
    piece.stage = 'change';
    if (piece.errno !== 0) this.#fail(piece, piece.errno);
    else this.#events.onPlaced(piece);
  }

  /** All frames up to the piece's have completed. */
  frameWritten(piece: Piece): void {
    this.#partDone(piece);
  }

  #partDone(piece: Piece): void {
    if (--piece.pending === 0) this.#events.onChanged(piece);
  }

  // --- Trims --------------------------------------------------------------------------------------------------

  #trim(piece: Piece, volume: Volume): void {
    const versions = this.#own(volume, piece.extent);
    const top = versions[0];
    this.#freedCell = NONE;
    if (top === undefined || (visibleData(versions) & piece.mask) === 0) {
      this.#returnCell(piece);
      // What made it empty may be a change that is not durable yet and has no answer: a flush after this one covers that too.
      piece.lsn = this.#drive.log.writtenLsn;
      this.#events.onChanged(piece);
      return;
    }
    const shared = volume.birthOf(top.era) <= volume.newestSnapshot;
    if (!shared) this.#returnCell(piece);
    else if (!this.#takeCell(piece)) return;
    const target = shared ? { cell: piece.newCell, decided: 0, data: 0, era: -1 } : top;
    if (!this.#pagesPresent(piece, target.cell, true)) return;
    if (!this.#drive.log.reserve(TRIM_WORDS + markWords(volume), 0, true)) {
      this.#events.onLogFull(piece);
      return;
    }
    this.#commitTrim(piece, volume, versions, target);
  }

  #commitTrim(piece: Piece, volume: Volume, versions: Version[], target: Version): void {
    const { log, map, media } = this.#drive;
    const lsn = log.openLsn;
    piece.lsn = lsn;
    piece.stage = 'taking';
    piece.pending = 1;
    const data = target.data & ~piece.mask;
    const gone = data === 0 && versions.length === 1 && versions[0]?.cell === target.cell;
    const era = this.#era(piece, volume, target);
    const at = log.appendRecord(TRIM_WORDS);
    const { words } = media;
    words[at] = TRIM | (piece.mask << 8);
    words[at + 1] = volume.number;
    words[at + 2] = piece.extent;
    words[at + 3] = gone ? NO_CELL : target.cell;
    words[at + 4] = volume.birthOf(era);
    words[at + 5] = volume.epochOf(era);
    words[at + 6] = gone ? target.cell : NO_CELL;
    logMark(this.#drive, volume, piece);
    const start = media.geometry.cellStart(target.cell);
    for (let mask = piece.mask & target.data; mask !== 0; mask &= mask - 1) {
      this.#drive.payloads.supersede(start + lowestBit(mask), lsn);
    }
    const trimmed = { cell: target.cell, decided: target.decided | piece.mask, data, era };
    if (gone) {
      map.setVersions(volume, piece.extent, []);
      releaseCell(this.#drive, target.cell, lsn);
      volume.cellCount--;
    } else {
      this.#drive.softTrims.add(target.cell, piece.mask, lsn);
      const rest = versions[0]?.cell === target.cell ? versions.slice(1) : versions;
      if (piece.newCell >= 0) volume.cellCount++;
      map.setVersions(volume, piece.extent, [trimmed, ...rest]);
      this.#ownerEntry(target.cell, volume, piece.extent, lsn);
    }
    piece.newCell = -1;
    this.#events.onTaken(piece);
  }

  // --- Owner entries ------------------------------------------------------------------------------------------

  /** Writes the owner entry of `cell`, a version of the extent, from the map. */
  #ownerEntry(cell: number, volume: Volume, extent: number, lsn: number): void {
    const version = this.#own(volume, extent).find((candidate) => candidate.cell === cell);
    assert(version !== undefined, 'the cell is a version of the extent');
    writeOwner(this.#drive, cell, lsn, [
      volume.number,
      extent,
      volume.birthOf(version.era),
      volume.epochOf(version.era),
      (version.decided | (version.data << 16)) >>> 0,
      0,
    ]);
  }
}

/** Words of the log for the marks of a change: they are in its frame, or it could be seen without them. */
function markWords(volume: Volume): number {
  return volume.marks === undefined ? 0 : CHANGE_MARK_WORDS;
}
