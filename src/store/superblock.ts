/**
 * The superblock: the root of a drive. Number n lives in slot n % 2, and in that slot's mirror at the end of the drive; a
 * checkpoint writes n + 1 into the slot that the last one did not use, so that one whole pair is intact at any moment.
 *
 *     bytes      field
 *     0..8       magic "HOLDFAST"
 *     8          format version (u32)
 *     12         checksum of the block with this field zero, seed (version, 0)
 *     16 20 24   feature bits: compatible, read-only compatible, incompatible
 *     28         checksum algorithm
 *     32..48     drive uuid
 *     48..64     cluster uuid (zero: none)
 *     64         size in bytes (u64)
 *     72..112    layout: log start, log blocks, directory start, directory pages, table start, table pages, chunk start,
 *                chunk count, cells per chunk, reserved
 *     112        n (u64): the number of this checkpoint
 *     120        LSN of the first frame to replay (u64)
 *     128        ring block where the search for it starts
 *     132        checksum of the frame before it, the seed of the chain
 *     136        salt (2 x u32), new at each open
 *     144        incarnation: how often the drive was opened
 *     148        flags: bit 0 closed cleanly
 *     152        digest of the directory (2 x u32)
 *     160        next volume number
 *     164        life, boot id (4 x u32): of a drive with replicas, see life.ts
 *     184        LSN up to which the log was durable before this superblock, where a checkpoint logged marks again (u64); 0: none
 *     192        generation (u32): how often another node took the drive over
 *     rest       0
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { MAGIC_HIGH, MAGIC_LOW } from '../model/drive-mark.ts';
import { CHECKSUM_XXH64_LOW32, type Checksum } from '../lib/checksum.ts';
import type { Layout } from './geometry.ts';

export const FORMAT_VERSION = 1;

/** Incompatible feature: volumes with several replicas, so marks in the log, records in the table, and a life. */
export const REPLICAS = 1;
const KNOWN_FEATURES = REPLICAS;

/** The boot id of a drive without replicas. */
export const NO_BOOT: readonly number[] = [0, 0, 0, 0];

export type Superblock = {
  readonly layout: Layout;
  /** 16 bytes, as four little-endian words. */
  readonly driveUuid: readonly number[];
  readonly clusterUuid: readonly number[];
  readonly n: number;
  readonly tailLsn: number;
  readonly tailBlock: number;
  readonly tailChain: number;
  readonly saltLow: number;
  readonly saltHigh: number;
  readonly incarnation: number;
  readonly clean: boolean;
  readonly directoryDigestLow: number;
  readonly directoryDigestHigh: number;
  readonly nextVolumeNumber: number;
  /** Incompatible features: {@link REPLICAS} or 0. */
  readonly features: number;
  /** Of a drive with replicas: how often it came back having possibly lost what it took, from 1. Otherwise 0. */
  readonly life: number;
  /** The boot that opened it, as four words. */
  readonly bootId: readonly number[];
  /** Frames up to this LSN were durable before this superblock was written: they hold the open marks. 0: there are none. */
  readonly marksLsn: number;
  /** How often another node of its cluster took the drive over: one that knows it with a lower number is no longer its owner. */
  readonly generation: number;
};

export type ParsedSuperblock =
  | { readonly kind: 'ok'; readonly superblock: Superblock }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'rotten' }
  | { readonly kind: 'unsupported'; readonly reason: string };

/** The four words' 32-bit name on pages and frames. */
export function uuid32(words: readonly number[]): number {
  return words.reduce((hash, word) => Math.imul(hash ^ word, 0x9e3779b1) >>> 0, 0);
}

/** Writes a superblock into the block at `address`. */
export function formatSuperblock(
  words: Uint32Array,
  superblock: Superblock,
  at: { readonly address: number; readonly checksum: Checksum },
): void {
  const w = at.address >>> 2;
  words.fill(0, w, w + BLOCK_BYTES / 4);
  const { layout } = superblock;
  words[w] = MAGIC_LOW;
  words[w + 1] = MAGIC_HIGH;
  words[w + 2] = FORMAT_VERSION;
  words[w + 6] = superblock.features;
  words[w + 7] = CHECKSUM_XXH64_LOW32;
  words.set(superblock.driveUuid, w + 8);
  words.set(superblock.clusterUuid, w + 12);
  setU64(words, w + 16, layout.sizeBytes);
  words.set(
    [
      layout.logStart,
      layout.logBlocks,
      layout.directoryStart,
      layout.directoryPages,
      layout.tableStart,
      layout.tablePages,
      layout.chunkStart,
      layout.chunkCount,
      layout.cellsPerChunk,
    ],
    w + 18,
  );
  setU64(words, w + 28, superblock.n);
  setU64(words, w + 30, superblock.tailLsn);
  words[w + 32] = superblock.tailBlock;
  words[w + 33] = superblock.tailChain;
  words[w + 34] = superblock.saltLow;
  words[w + 35] = superblock.saltHigh;
  words[w + 36] = superblock.incarnation;
  words[w + 37] = superblock.clean ? 1 : 0;
  words[w + 38] = superblock.directoryDigestLow;
  words[w + 39] = superblock.directoryDigestHigh;
  words[w + 40] = superblock.nextVolumeNumber;
  words[w + 41] = superblock.life;
  words.set(superblock.bootId, w + 42);
  setU64(words, w + 46, superblock.marksLsn);
  words[w + 48] = superblock.generation;
  words[w + 3] = at.checksum(at.address, BLOCK_BYTES, FORMAT_VERSION, 0);
}

/** Reads the block at `address`, checking it whole. */
export function parseSuperblock(
  words: Uint32Array,
  at: { readonly address: number; readonly checksum: Checksum },
): ParsedSuperblock {
  const w = at.address >>> 2;
  const u = (index: number): number => words[w + index] ?? 0;
  if (u(0) !== MAGIC_LOW || u(1) !== MAGIC_HIGH) return { kind: 'foreign' };
  const stored = u(3) | 0;
  words[w + 3] = 0;
  const computed = at.checksum(at.address, BLOCK_BYTES, u(2), 0);
  words[w + 3] = stored;
  if (stored !== computed) return { kind: 'rotten' };
  if (u(2) !== FORMAT_VERSION) {
    return {
      kind: 'unsupported',
      reason: `format version ${u(2)}, this build reads ${FORMAT_VERSION}`,
    };
  }
  const unknown = u(6) & ~KNOWN_FEATURES;
  if (unknown !== 0) {
    return { kind: 'unsupported', reason: `feature bits 0x${(unknown >>> 0).toString(16)}` };
  }
  if (u(7) !== CHECKSUM_XXH64_LOW32) {
    return { kind: 'unsupported', reason: `checksum algorithm ${u(7)}` };
  }
  return { kind: 'ok', superblock: fields(words, w) };
}

function fields(words: Uint32Array, w: number): Superblock {
  const u = (index: number): number => words[w + index] ?? 0;
  return {
    layout: {
      sizeBytes: getU64(words, w + 16),
      logStart: u(18),
      logBlocks: u(19),
      directoryStart: u(20),
      directoryPages: u(21),
      tableStart: u(22),
      tablePages: u(23),
      chunkStart: u(24),
      chunkCount: u(25),
      cellsPerChunk: u(26),
    },
    driveUuid: [...words.subarray(w + 8, w + 12)],
    clusterUuid: [...words.subarray(w + 12, w + 16)],
    n: getU64(words, w + 28),
    tailLsn: getU64(words, w + 30),
    tailBlock: u(32),
    tailChain: u(33) | 0,
    saltLow: u(34),
    saltHigh: u(35),
    incarnation: u(36),
    clean: (u(37) & 1) === 1,
    directoryDigestLow: u(38),
    directoryDigestHigh: u(39),
    nextVolumeNumber: u(40),
    features: u(6),
    life: u(41),
    bootId: [...words.subarray(w + 42, w + 46)],
    marksLsn: getU64(words, w + 46),
    generation: u(48),
  };
}

/** Stores a safe integer as two little-endian words. */
export function setU64(words: Uint32Array, at: number, value: number): void {
  // Each mark has one: the words of the message are made only where they are needed.
  if (!Number.isSafeInteger(value) || value < 0)
    assert(false, `a u64 field holds a safe integer: ${value}`);
  words[at] = value >>> 0;
  words[at + 1] = Math.floor(value / 2 ** 32);
}

/** Reads two little-endian words as a number; precise below 2^53. */
export function getU64(words: Uint32Array, at: number): number {
  return (words[at] ?? 0) + (words[at + 1] ?? 0) * 2 ** 32;
}
