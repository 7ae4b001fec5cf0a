/** The file systems that are mounted still when what serves them ends. */

import { setTimeout as sleep } from 'node:timers/promises';

import { MadeLog } from '../attacher/made-log.ts';
import { mountAt } from '../attacher/mount-table.ts';
import { runProgram } from './run-program.ts';

/** Has them written back, as far as that comes to its end in `msMax`. */
export async function syncMounts(runDirectory: string, msMax: number): Promise<void> {
  const paths = new MadeLog(runDirectory)
    .entries()
    .flatMap((made) =>
      made.kind === 'mount' && mountAt(made.path)?.source === made.device ? [made.path] : [],
    );
  if (paths.length === 0) return;
  const synced = Promise.all(paths.map((path) => runProgram('sync', '-f', path)));
  await Promise.race([synced, sleep(msMax, undefined, { ref: false })]);
}
