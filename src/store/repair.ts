/** What `drive check --repair` writes: the replayed log, and good copies over rotten ones. */

import type { Env } from '../env/env.ts';
import type { CheckOptions } from './check.ts';
import type { Findings } from './check-report.ts';
import { ioAsyncOf } from './exact.ts';
import { openDrive } from './open-drive.ts';

/**
 * Opens the drive as the engine does, makes the copies of all pages equal, writes all superblocks anew, and closes it. Keeps its hands off
 * a drive with damage to what describes its data, and off one that needs nothing.
 */
export async function repairDrive(
  env: Env,
  options: Pick<CheckOptions, 'path' | 'arena'>,
  findings: Findings,
): Promise<void> {
  // Open marks are as they should be.
  const list = findings.list.filter(({ code }) => code !== 'MARKS_OPEN');
  if (list.length === 0) return;
  // A rotten block is found by its checksum again, whatever is done to the drive.
  if (list.some(({ severity, code }) => severity === 'damage' && code !== 'BLOCK_ROTTEN')) {
    findings.add({
      code: 'NOT_REPAIRED',
      severity: 'note',
      where: 'drive',
      what: 'There is damage that no copy on this drive makes good: nothing was written',
      consequence: 'The drive is as it was',
    });
    return;
  }
  const { drive, checkpointer, turns } = await openDrive(env, options);
  await checkpointer.mirror(Infinity);
  // Opening made the newest pair of superblocks whole and wrote the other one, and of the directory both copies.
  await checkpointer.run({ clean: true });
  turns.stop();
  await ioAsyncOf(env.io).close(drive.media.fd);
  findings.add({
    code: 'REPAIRED',
    severity: 'note',
    where: 'drive',
    what: 'The log is replayed, the copies of all metadata pages are equal, and all superblocks are written anew',
    consequence: 'Check it again to see that it is clean',
  });
}
