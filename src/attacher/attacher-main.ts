/**
 * The attacher's process: `main.ts attacher --data DIR [--io auto|io_uring|node]`. SIGTERM ends it in order (exit 0) unless a
 * device is in use; a bug ends it at once (exit 70), to be swept and started again by the supervisor.
 */

import { packageVersion } from '../env/node/package-version.ts';
import { EXIT_USAGE, openRole } from '../env/node/role-process.ts';
import { makeRunDirectory } from '../env/node/run-directory.ts';
import { runAttacher } from './attacher.ts';

/** Runs the attacher until it is told to end. Returns the exit status. */
export async function attacherMain(argv: readonly string[]): Promise<number> {
  const { log, flags } = openRole('attacher', argv);
  if (flags === undefined) return EXIT_USAGE;
  const runDir = makeRunDirectory(flags.dataDirectory);
  const status = await runAttacher({ runDir, io: flags.io, version: packageVersion(), log });
  log('attacher.ended');
  return status;
}
