/** What every part of one open drive shares: the descriptor, the arena, the checksum, the geometry and the fault switch. */

import type { Arena } from '../lib/arena.ts';
import type { Checksum } from '../lib/checksum.ts';
import type { Io } from '../env/io.ts';
import type { Geometry } from './geometry.ts';

/** Counters of a drive since it was opened; `status` shows them. */
export type DriveCounters = {
  flushes: number;
  fdatasyncs: number;
  frames: number;
  logBlocks: number;
  reads: number;
  writes: number;
  payloadBlocks: number;
  directBlocks: number;
  appliedBlocks: number;
  checkpoints: number;
  pagesWritten: number;
  pagesHealed: number;
  checksumErrors: number;
  /** Reads that the drive refused. */
  readErrors: number;
};

/** Bytes that are not those that were written, or that the drive would not read. */
export type BadBlock = {
  readonly kind: 'checksum' | 'read';
  /** Uuid of the volume that it belongs to; undefined: metadata. */
  readonly volume: string | undefined;
  /** In the volume; of metadata on the drive. */
  readonly offsetBytes: number;
};

export type Media = {
  readonly io: Io;
  readonly fd: number;
  readonly arena: Arena;
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  readonly checksum: Checksum;
  /** Replaced when the drive grows. */
  geometry: Geometry;
  /** Names this drive on each page and frame. */
  readonly uuid32: number;
  readonly counters: DriveCounters;
  /** Grows with each completion on this drive: tells a turn in which something happened. */
  activity: number;
  /** Why the drive takes no more changes, or undefined while it is well. */
  fault: string | undefined;
  /**
   * Stops the drive for good after a failed fdatasync, log write or superblock write: what the media holds is no longer
   * known, and a retry that succeeds would lie (PostgreSQL's fsyncgate, 2018).
   */
  stop(reason: string): void;
  onBad(block: BadBlock): void;
};

/** The counters of a drive that is being opened. */
export function newCounters(): DriveCounters {
  return {
    flushes: 0,
    fdatasyncs: 0,
    frames: 0,
    logBlocks: 0,
    reads: 0,
    writes: 0,
    payloadBlocks: 0,
    directBlocks: 0,
    appliedBlocks: 0,
    checkpoints: 0,
    pagesWritten: 0,
    pagesHealed: 0,
    checksumErrors: 0,
    readErrors: 0,
  };
}

/** Counts a bad block, and tells whoever keeps the drive. */
export function noteBad(media: Media, block: BadBlock): void {
  if (block.kind === 'checksum') media.counters.checksumErrors++;
  else media.counters.readErrors++;
  media.onBad(block);
}
