/**
 * Recovery: from the last checkpoint and the log behind it to the state that the dead process had acknowledged (after SIGKILL), or
 * flushed (after a power cut). Read-only up to its final checkpoint, so it may itself be cut at any point and starts over.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { IoAsync } from '../env/io-async.ts';
import { readExact } from './exact.ts';
import { judge, type Voids } from './judge.ts';
import type { Frame, LogReader, LogScan } from './log-reader.ts';
import type { Media } from './media.ts';
import { Replay, type Redo, type ReplayState } from './replay.ts';
import type { Superblock } from './superblock.ts';

export type Recovered = {
  readonly scan: LogScan;
  readonly lastChain: number;
  readonly redoneBlocks: number;
  /** Blocks of unflushed changes whose data had not arrived: they keep their former state. */
  readonly voidBlocks: number;
  /** Flushed content that is rotten both in the log and in its place. */
  readonly rottenBlocks: number;
};

/** Blocks redone at once. */
const BATCH_BLOCKS = 64;
export const RECOVERY_BYTES: number = (BATCH_BLOCKS + 1) * BLOCK_BYTES;

export type RecoveryWork = {
  readonly ioAsync: IoAsync;
  readonly reader: LogReader;
  readonly superblock: Superblock;
  /** {@link RECOVERY_BYTES} bytes of arena memory. */
  readonly scratch: number;
  /** Called between records: writes dirty pages out when the cache is full of them. */
  readonly relieve: () => Promise<void>;
};

export type ReplayedLog = {
  readonly voids: Voids;
  readonly replay: Replay;
};

/** Judges what of a log was not flushed, and replays it all in memory. Writes nothing by itself. */
export async function replayLog(
  state: ReplayState,
  work: Omit<RecoveryWork, 'superblock'> & { readonly scan: LogScan },
): Promise<ReplayedLog> {
  const { ioAsync, reader, scan, scratch } = work;
  const unflushed: { frame: Frame; words: Uint32Array }[] = [];
  for (const frame of scan.frames) {
    if (frame.lsn > scan.durableLsn) unflushed.push({ frame, words: await reader.records(frame) });
  }
  const voids = await judge(state.media, ioAsync, { frames: unflushed, scratch });
  const replay = new Replay(state, voids);
  for (const frame of scan.frames) {
    await replay.frame(frame, await reader.records(frame), work.relieve);
  }
  return { voids, replay };
}

/** Replays the log on the state that the checkpoint left, and makes the result durable before it resolves. */
export async function recover(state: ReplayState, work: RecoveryWork): Promise<Recovered> {
  const { ioAsync, superblock, scratch } = work;
  const scan = await work.reader.scan(superblock);
  if (scan.damage !== undefined) throw new Fault('DRIVE_CORRUPT', { problem: scan.damage.problem });
  const { voids, replay } = await replayLog(state, { ...work, scan });
  replay.verify();
  const rottenBlocks = await redo(state.media, ioAsync, { redos: replay.redos(), scratch });
  await ioAsync.flush(state.media.fd);
  let voidBlocks = 0;
  for (const mask of voids.values())
    for (let rest = mask; rest !== 0; rest &= rest - 1) voidBlocks++;
  return {
    scan,
    lastChain: scan.frames.at(-1)?.checksum ?? superblock.tailChain,
    redoneBlocks: replay.redo.size,
    voidBlocks,
    rottenBlocks,
  };
}

/**
 * Writes logged payload to its place, in order of place. A rotten log copy is skipped: its place may hold the content already, and if
 * it does not, the block's checksum says so to every reader.
 */
async function redo(
  media: Media,
  ioAsync: IoAsync,
  work: { readonly redos: readonly (readonly [number, Redo])[]; readonly scratch: number },
): Promise<number> {
  let rotten = 0;
  for (let from = 0; from < work.redos.length; from += BATCH_BLOCKS) {
    const batch = work.redos.slice(from, from + BATCH_BLOCKS);
    await Promise.all(
      batch.map(async ([block, item], place) => {
        const address = work.scratch + place * BLOCK_BYTES;
        const range = { address, lengthBytes: BLOCK_BYTES };
        await readExact(ioAsync, media.fd, item.source * BLOCK_BYTES, range);
        const sum = media.checksum(address, BLOCK_BYTES, item.seed, item.volume);
        if (sum === item.sum) await ioAsync.write(media.fd, block * BLOCK_BYTES, range);
        else rotten++;
      }),
    );
  }
  return rotten;
}
