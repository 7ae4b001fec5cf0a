/** What a log begins with: its memory, and its place behind what recovery replayed, with a new salt. */

import type { RingPosition } from './log-ring.ts';
import type { Recovered } from './recovery.ts';
import type { Superblock } from './superblock.ts';

export type LogOptions = {
  /** Blocks of arena memory for frames; bounds the payload that is not yet applied. */
  readonly memoryBlocks: number;
  /** Blocks of one frame at most, header included: 2 to 256. */
  readonly frameBlocksMax: number;
};

/** The end of the log at a checkpoint, where the next recovery begins. */
export type LogPosition = RingPosition & { readonly lsn: number; readonly chain: number };

export type LogStart = {
  readonly nextLsn: number;
  /** Ring block where the next frame goes. */
  readonly headBlock: number;
  readonly chain: number;
  readonly saltLow: number;
  readonly saltHigh: number;
  readonly checkpoint: number;
};

/** `random`: the new salt, low word first. */
export function logStart(
  superblock: Superblock,
  recovered: Recovered,
  random: Uint32Array,
): LogStart {
  return {
    nextLsn: superblock.tailLsn + recovered.scan.frames.length,
    headBlock: recovered.scan.endBlock,
    chain: recovered.lastChain,
    saltLow: random[0] ?? 0,
    saltHigh: random[1] ?? 0,
    checkpoint: superblock.n,
  };
}
