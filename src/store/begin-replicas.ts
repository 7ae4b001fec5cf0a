/** A drive gets its first replica of a replicated volume: from then on older builds refuse it. */

import { Fault } from '../model/errors.ts';
import type { DriveParts } from './drive-store.ts';
import { markBlocks } from './marks.ts';
import { REPLICAS } from './superblock.ts';

/** Resolves once a superblock says so, durably: no record that only newer builds know comes before it. */
export async function beginReplicas(parts: DriveParts): Promise<void> {
  const { checkpointer, drive, life } = parts;
  if ((checkpointer.superblock.features & REPLICAS) !== 0) return;
  if (drive.ownersLost)
    throw new Fault('DRIVE_NOT_READY', { drive: parts.path, state: 'read-only' });
  drive.log.marksRoom = 2 * markBlocks(drive.media.geometry.layout.logBlocks);
  await checkpointer.run(life.first());
}
