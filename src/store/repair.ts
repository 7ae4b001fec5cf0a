/** What `drive check --repair` writes: the replayed log, and good copies over rotten ones. */

import type { Env } from '../env/env.ts';
import type { CheckOptions } from './check.ts';
import type { Findings } from './check-report.ts';
import { ioAsyncOf } from './exact.ts';
import { openDrive } from './open-drive.ts';

/** Opens the drive as the engine does, mirrors the pages in `rotten`, writes all superblocks anew, and closes it. */
export async function repairDrive(
  env: Env,
  options: Pick<CheckOptions, 'path' | 'arena'>,
  rotten: readonly number[],
  findings: Findings,
): Promise<void> {
  const { drive, checkpointer, turns } = await openDrive(env, options);
  for (const page of rotten) drive.directory.unmirror(page);
  await checkpointer.mirror();
  // Two checkpoints: one for each superblock slot.
  await checkpointer.run();
  await checkpointer.run({ clean: true });
  turns.stop();
  await ioAsyncOf(env.io).close(drive.media.fd);
  findings.add({
    code: 'REPAIRED',
    severity: 'note',
    where: 'drive',
    what: `The log is replayed, ${rotten.length} rotten copies of pages are written anew, and so are all superblocks`,
    consequence: 'Check it again to see that it is clean',
  });
}
