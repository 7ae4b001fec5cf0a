/**
 * Reads of one piece: holes are filled with zeros, logged payload is copied from memory, the rest is read from its cells, in
 * runs, and checked block by block before anyone sees it.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { EIO } from '../model/errno.ts';
import type { Port } from '../env/io.ts';
import { NONE } from './extent-map.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import { noteBad } from './media.ts';
import { PAGE_ENTRIES } from './page-format.ts';
import { lowestBit, type Piece } from './piece.ts';
import type { DriveState } from './drive-state.ts';

/** Where a read piece goes on. */
export type ReaderEvents = { readonly onRead: (piece: Piece) => void };

export class Reader {
  readonly #drive: DriveState;
  readonly #events: ReaderEvents;
  readonly #port: Port;
  readonly #pieces: readonly Piece[];

  constructor(drive: DriveState, pieces: readonly Piece[], events: ReaderEvents) {
    this.#drive = drive;
    this.#pieces = pieces;
    this.#events = events;
    this.#port = drive.media.io.port((index, result) => this.#onIo(index, result));
  }

  /** Fills the piece's blocks; ends in onRead, perhaps at once, with piece.errno. */
  start(piece: Piece): void {
    piece.stage = 'reading';
    const disk = this.#resolve(piece);
    if (disk === 0) {
      this.#events.onRead(piece);
      return;
    }
    // Pages that are not there yet come while the data is being read.
    this.#prefetch(piece, disk);
    this.#submit(piece, disk);
  }

  /** Fills holes and logged blocks; notes the cell of each of the others and returns their mask. */
  #resolve(piece: Piece): number {
    const { map } = this.#drive;
    const client = piece.request?.client;
    if (client === undefined) return 0;
    piece.cells.fill(NONE);
    const cell = map.single(client.volume, piece.extent);
    if (cell !== -1) {
      const visible = cell !== NONE && client.volume.birthOf(map.era) <= client.birthMax;
      return this.#take(piece, cell, visible ? map.data & piece.mask : 0);
    }
    let rest = piece.mask;
    let disk = 0;
    for (const version of map.versions(client.volume, piece.extent)) {
      if (client.volume.birthOf(version.era) > client.birthMax) continue;
      const decided = version.decided & rest;
      if (decided === 0) continue;
      rest &= ~decided;
      disk |= this.#take(piece, version.cell, version.data & decided, decided);
    }
    if (rest !== 0) this.#take(piece, NONE, 0, rest);
    return disk;
  }

  /** Of the blocks in `decided`, those in `data` are in `cell`, the others are zeros. */
  #take(piece: Piece, cell: number, data: number, decided: number = piece.mask): number {
    const { media, payloads, log } = this.#drive;
    let disk = 0;
    let cellStart = -1;
    for (let mask = decided; mask !== 0; mask &= mask - 1) {
      const block = lowestBit(mask);
      const address = piece.base + block * BLOCK_BYTES;
      if (((data >>> block) & 1) === 0) {
        if (this.#drive.ownersLost) piece.errno = EIO;
        media.words.fill(0, address >>> 2, (address + BLOCK_BYTES) >>> 2);
        continue;
      }
      if (cellStart < 0) cellStart = media.geometry.cellStart(cell);
      const slot = payloads.find(cellStart + block);
      if (slot >= 0) {
        const from = log.blockAddress(slot);
        media.bytes.copyWithin(address, from, from + BLOCK_BYTES);
      } else {
        piece.cells[block] = cell;
        disk |= 1 << block;
      }
    }
    return disk;
  }

  #prefetch(piece: Piece, disk: number): void {
    const { media, cache } = this.#drive;
    let last = NONE;
    for (let mask = disk; mask !== 0; mask &= mask - 1) {
      const cell = piece.cells[lowestBit(mask)] ?? NONE;
      if (cell === last) continue;
      last = cell;
      cache.find(media.geometry.checksumPage(cell));
    }
  }

  /** One read for each run of blocks that lie together. */
  #submit(piece: Piece, disk: number): void {
    const { io, fd, geometry, counters } = this.#drive.media;
    piece.pending = 1;
    for (let block = lowestBit(disk); block < EXTENT_BLOCKS;) {
      const cell = piece.cells[block] ?? NONE;
      let end = block + 1;
      while (end < EXTENT_BLOCKS && ((disk >>> end) & 1) === 1 && piece.cells[end] === cell) end++;
      const length = (end - block) * BLOCK_BYTES;
      piece.lengths[block] = length;
      piece.pending++;
      counters.reads++;
      const position = (geometry.cellStart(cell) + block) * BLOCK_BYTES;
      const address = piece.base + block * BLOCK_BYTES;
      io.read(this.#port, piece.index * EXTENT_BLOCKS + block, fd, position, address, length);
      block = end;
      while (block < EXTENT_BLOCKS && ((disk >>> block) & 1) === 0) block++;
    }
    piece.pending--;
  }

  #onIo(index: number, result: number): void {
    this.#drive.media.activity++;
    const piece = this.#pieces[index >>> 4];
    if (piece === undefined) return;
    if (result !== piece.lengths[index & 15]) {
      piece.errno = EIO;
      this.#bad('read', piece, index & 15);
    }
    if (--piece.pending > 0) return;
    if (piece.errno !== 0) this.#events.onRead(piece);
    else this.verify(piece);
  }

  #bad(kind: 'checksum' | 'read', piece: Piece, block: number): void {
    const offsetBytes = (piece.extent * EXTENT_BLOCKS + block) * BLOCK_BYTES;
    const volume = piece.request?.client?.volume.uuid;
    noteBad(this.#drive.media, { kind, volume, offsetBytes });
  }

  /** Checks every block read from the drive; waits for checksum pages that are not there. */
  verify(piece: Piece): void {
    piece.stage = 'verify';
    const { media, cache } = this.#drive;
    const volume = piece.request?.client?.volume.number ?? 0;
    let lastCell = NONE;
    let sums = 0;
    for (let block = 0; block < EXTENT_BLOCKS; block++) {
      const cell = piece.cells[block] ?? NONE;
      if (cell === NONE) continue;
      if (cell !== lastCell) {
        const page = media.geometry.checksumPage(cell);
        const found = cache.find(page);
        if (found === 'missing') {
          cache.wait(page, piece.index);
          return;
        }
        if (found === 'rotten') {
          piece.errno = EIO;
          break;
        }
        sums = (found >>> 2) + PAGE_ENTRIES + media.geometry.checksumIndex(cell);
        lastCell = cell;
      }
      const address = piece.base + block * BLOCK_BYTES;
      const seed = piece.extent * EXTENT_BLOCKS + block;
      if (
        media.checksum(address, BLOCK_BYTES, seed, volume) !==
        ((media.words[sums + block] ?? 0) | 0)
      ) {
        this.#bad('checksum', piece, block);
        piece.errno = EIO;
      }
    }
    this.#events.onRead(piece);
  }
}
