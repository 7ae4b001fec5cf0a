/** DIR/run, where an installation's sockets are: the directory itself, or a link to one whose path is short enough for sockets. */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { makeDirectory } from './make-directory.ts';

/** Sockets have paths of at most 107 bytes; `nbd/` and 32 digits with an ending take 42. */
const RUN_PATH_BYTES_MAX = 60;

/** The run directory of the installation in `directory` (absolute), resolved. Makes nothing. */
export function runDirectoryOf(directory: string): string {
  const own = path.join(directory, 'run');
  try {
    return fs.realpathSync(own);
  } catch {
    if (Buffer.byteLength(own) <= RUN_PATH_BYTES_MAX) return own;
    const name = createHash('sha256').update(directory).digest('hex').slice(0, 12);
    const inTemporary = path.join(os.tmpdir(), `holdfast-${name}`);
    // macOS's own folder for each user takes half of what a socket's path may have.
    return Buffer.byteLength(inTemporary) <= RUN_PATH_BYTES_MAX
      ? inTemporary
      : `/tmp/holdfast-${name}`;
  }
}

/** Makes it where it is not there, with its folder for NBD sockets, and returns it as {@link runDirectoryOf} does. */
export function makeRunDirectory(directory: string): string {
  const own = path.join(directory, 'run');
  const resolved = runDirectoryOf(directory);
  makeDirectory(path.join(resolved, 'nbd'), 0o700);
  if (resolved === own || fs.existsSync(own)) return resolved;
  makeDirectory(directory, 0o700);
  // A link that leads nowhere is left of a place where the installation was before.
  fs.rmSync(own, { force: true });
  fs.symlinkSync(resolved, own);
  return resolved;
}
