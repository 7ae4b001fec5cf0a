/** What `drive check --repair` writes: the replayed log, and good copies over rotten ones. */

import type { Env } from '../env/env.ts';
import type { CheckOptions } from './check.ts';
import type { Findings } from './check-report.ts';
import { ioAsyncOf } from './exact.ts';
import { openDrive } from './open-drive.ts';

export type RepairWork = Pick<CheckOptions, 'path' | 'arena'> & {
  /** Metadata pages, and pages of the directory, with one rotten copy. */
  readonly pages: readonly number[];
  readonly directoryPages: readonly number[];
};

/**
 * Opens the drive as the engine does, mirrors what has a rotten copy, writes all superblocks anew, and closes it. Keeps its hands off
 * a drive with damage to what describes its data, and off one that needs nothing.
 */
export async function repairDrive(env: Env, work: RepairWork, findings: Findings): Promise<void> {
  const { list } = findings;
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
  const { drive, checkpointer, turns } = await openDrive(env, work);
  for (const page of work.pages) drive.directory.unmirror(page);
  for (const page of work.directoryPages) drive.directory.halves.add(page);
  await checkpointer.mirror();
  // Opening made the newest pair of superblocks whole and wrote the other one; both say now that the drive was closed.
  await checkpointer.run({ clean: true });
  turns.stop();
  await ioAsyncOf(env.io).close(drive.media.fd);
  findings.add({
    code: 'REPAIRED',
    severity: 'note',
    where: 'drive',
    what: `The log is replayed, ${work.pages.length + work.directoryPages.length} rotten copies of pages are written anew, and so are all superblocks`,
    consequence: 'Check it again to see that it is clean',
  });
}
