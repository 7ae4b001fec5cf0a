/** Writes superblocks: a new one into its pair, and a good copy over a bad one of the same pair. */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import type { IoAsync } from '../env/io-async.ts';
import { Geometry } from './geometry.ts';
import type { FoundSuperblocks } from './load.ts';
import type { Media } from './media.ts';
import { formatSuperblock, type Superblock } from './superblock.ts';

export type SuperblockWork = {
  readonly media: Media;
  readonly ioAsync: IoAsync;
  /** One block of arena memory. */
  readonly address: number;
  readonly superblock: Superblock;
};

/** Writes a superblock and its mirror; the caller flushes before and after. */
export async function writeSuperblock(work: SuperblockWork): Promise<void> {
  await writeTo(work, pairOf(work.superblock));
}

/**
 * Makes the pair of the newest superblock whole, durably: a checkpoint that a power cut or a kill interrupted left one copy that is older,
 * torn or rotten. It comes before the next checkpoint, which overwrites the other pair: from then on a single copy would be all there is. Never
 * writes the good copy, which the flush that opening begins with has made durable. Returns how many copies it wrote.
 */
export async function mendSuperblock(
  work: SuperblockWork,
  copies: FoundSuperblocks['copies'],
): Promise<number> {
  const { n } = work.superblock;
  const bad = pairOf(work.superblock).filter((_, mirror) => {
    const copy = copies[mirror * 2 + (n % 2)];
    return copy?.kind !== 'ok' || copy.superblock.n !== n;
  });
  if (bad.length === 0) return 0;
  assert(bad.length === 1, 'the newest superblock was read from one of its copies');
  await writeTo(work, bad);
  await work.ioAsync.flush(work.media.fd);
  return bad.length;
}

/** Its own layout says where its mirror lies: a drive that grew has the next one elsewhere. */
function pairOf(superblock: Superblock): readonly number[] {
  assert(superblock.n > 0, 'superblocks are numbered from 1');
  return new Geometry(superblock.layout).superblockBlocks(superblock.n);
}

async function writeTo(work: SuperblockWork, blocks: readonly number[]): Promise<void> {
  const { media, ioAsync, address, superblock } = work;
  formatSuperblock(media.words, superblock, { address, checksum: media.checksum });
  const range = { address, lengthBytes: BLOCK_BYTES };
  try {
    await Promise.all(blocks.map((block) => ioAsync.write(media.fd, block * BLOCK_BYTES, range)));
  } catch (error) {
    media.stop(`write of a superblock failed (${String(error)})`);
    throw error;
  }
}
