/** File systems are written back before what serves them ends. */

import { setTimeout as sleep } from 'node:timers/promises';

import { MadeLog } from '../attacher/made-log.ts';
import { mountAt } from '../attacher/mount-table.ts';
import { runProgram } from './run-program.ts';

/** Writes back what the file system at `path` holds in memory. */
export async function syncFileSystem(path: string): Promise<void> {
  await runProgram('sync', '-f', path);
}

/** The same of all that are mounted still, as far as that comes to its end in `msMax`. */
export async function syncMounts(runDirectory: string, msMax: number): Promise<void> {
  const paths = new MadeLog(runDirectory)
    .entries()
    .flatMap((made) =>
      made.kind === 'mount' && mountAt(made.path)?.source === made.device ? [made.path] : [],
    );
  if (paths.length === 0) return;
  const synced = Promise.all(paths.map(syncFileSystem));
  await Promise.race([synced, sleep(msMax, undefined, { ref: false })]);
}
