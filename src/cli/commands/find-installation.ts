/** Whether there is an installation to end, to ask or to delete. */

import fs from 'node:fs';

import { type Installation, isInstallation } from '../../control/installation.ts';
import { errnoInWords } from '../../model/errno.ts';
import { Refusal } from '../../model/errors.ts';

/**
 * Whether an installation is in its directory; false where there is no directory. Throws INSTALLATION_FOREIGN where the directory is
 * something else, or where this user may not look: what cannot be seen may well run.
 */
export function findInstallation({ directory, runDirectory }: Installation): boolean {
  if (!mayLook(directory)) return false;
  if (!isInstallation(directory)) throw unusable(directory, 'it is no installation of Holdfast');
  mayLook(runDirectory);
  return true;
}

function mayLook(directory: string): boolean {
  try {
    fs.readdirSync(directory);
    return true;
  } catch (error) {
    const { code, errno = 0 } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    throw unusable(directory, `it cannot be read: ${errnoInWords(-errno)}`);
  }
}

function unusable(path: string, problem: string): Refusal {
  return new Refusal('INSTALLATION_FOREIGN', { path, problem });
}
