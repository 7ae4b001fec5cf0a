/**
 * The attacher's process: `main.ts attacher --data DIR [--io auto|io_uring|node]`. SIGTERM ends it in order (exit 0) unless a
 * device is in use; a bug ends it at once (exit 70), to be swept and started again by the supervisor.
 */

import { packageVersion } from '../env/node/package-version.ts';
import { EXIT_USAGE, openRole } from '../env/node/role-process.ts';
import { makeRunDirectory } from '../env/node/run-directory.ts';
import { runAttacher } from './attacher.ts';

/** How an attacher starts its successor. Not for use by hand: it inherits descriptors. */
const TAKE_OVER = '--take-over';

/** Runs the attacher until it is told to end. Returns the exit status. */
export async function attacherMain(argv: readonly string[]): Promise<number> {
  const takesOver = argv.includes(TAKE_OVER);
  const { log, flags } = openRole(
    'attacher',
    argv.filter((word) => word !== TAKE_OVER),
  );
  if (flags === undefined) return EXIT_USAGE;
  const { dataDirectory, io } = flags;
  const status = await runAttacher({
    runDir: makeRunDirectory(dataDirectory),
    io,
    version: packageVersion(),
    log,
    successorWords: ['attacher', '--data', dataDirectory, '--io', io, TAKE_OVER],
    takesOver,
  });
  log('attacher.ended');
  return status;
}
