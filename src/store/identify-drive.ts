/** Tells which drive lies at a path, and changes nothing. */

import type { Env } from '../env/env.ts';
import type { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import { ioAsyncOf } from './exact.ts';
import { openRefusal } from './format-drive.ts';
import { findSuperblocks, superblockProblem } from './load.ts';
import { wordsHex } from './volume.ts';

/** Ids have 32 hex digits. */
export type DriveIdentity = {
  readonly driveUuid: string;
  /** Undefined: it was formatted for none. */
  readonly clusterUuid: string | undefined;
  /** How often another node of its cluster took it over. */
  readonly generation: number;
  /** How often it was opened: an older copy of it was less often. */
  readonly incarnation: number;
};

/**
 * Reads the superblocks, with the drive to itself; a block of `arena` is taken. Throws Refusal DRIVE_BUSY where a process holds it, PATH_INVALID, and Fault
 * DRIVE_CORRUPT where there is no drive, or one of a newer program.
 */
export async function identifyDrive(
  env: Env,
  { path, arena }: { readonly path: string; readonly arena: Arena },
): Promise<DriveIdentity> {
  const file = await env.files
    .open(path, { direct: true, exclusive: true })
    .catch((error: unknown) => {
      throw openRefusal(error, path);
    });
  try {
    const found = await findSuperblocks({
      ioAsync: ioAsyncOf(env.io),
      fd: file.fd,
      words: arena.u32,
      checksum: checksumOf(arena.memory),
      scratch: arena.reserve(BLOCK_BYTES, BLOCK_BYTES),
      fileBytes: file.sizeBytes,
    });
    const { newest } = found;
    if (newest === undefined)
      throw new Fault('DRIVE_CORRUPT', { drive: path, problem: superblockProblem(found) });
    const { driveUuid, clusterUuid, generation, incarnation } = newest;
    const hasCluster = clusterUuid.some((word) => word !== 0);
    return {
      driveUuid: wordsHex(driveUuid),
      clusterUuid: hasCluster ? wordsHex(clusterUuid) : undefined,
      generation,
      incarnation,
    };
  } finally {
    await env.files.close(file.fd);
  }
}
