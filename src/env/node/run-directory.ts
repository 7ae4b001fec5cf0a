/** DIR/run, where an installation's sockets are: the directory itself, or a link to one whose path is short enough for sockets. */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { Refusal } from '../../model/errors.ts';
import { makeDirectory } from './make-directory.ts';

/** Sockets have paths of at most 107 bytes; `nbd/` and 32 digits with an ending take 42. */
const RUN_PATH_BYTES_MAX = 60;
const WRITABLE_BY_OTHERS = 0o022;

/** The run directory of the installation in `directory` (absolute), resolved. Makes nothing. */
export function runDirectoryOf(directory: string): string {
  const own = path.join(directory, 'run');
  const link = linkAt(own);
  if (link === undefined && fs.existsSync(own)) return fs.realpathSync(own);
  if (link === undefined && Buffer.byteLength(own) <= RUN_PATH_BYTES_MAX) return own;
  // Outside, under a name that is the directory's own: a copy or a moved installation has another, whatever its link says.
  const digest = createHash('sha256').update(realPath(directory)).digest('hex').slice(0, 12);
  const name = `holdfast-${digest}`;
  // Whoever made it may have had another TMPDIR.
  if (link !== undefined && path.basename(link) === name) return link;
  const inTemporary = path.join(os.tmpdir(), name);
  // macOS's own folder for each user takes half of what a socket's path may have.
  return Buffer.byteLength(inTemporary) <= RUN_PATH_BYTES_MAX ? inTemporary : `/tmp/${name}`;
}

/**
 * Makes it where it is not there, with its folder for NBD sockets, and returns it as {@link runDirectoryOf} does. Throws
 * INSTALLATION_FOREIGN where somebody else made one that lies outside.
 */
export function makeRunDirectory(directory: string): string {
  const own = path.join(directory, 'run');
  makeDirectory(directory, 0o700);
  const resolved = runDirectoryOf(directory);
  const link = linkAt(own);
  const isInside = resolved === own || (link === undefined && fs.existsSync(own));
  if (!isInside) {
    makeDirectory(resolved, 0o700);
    refuseOthers(resolved, directory);
  }
  makeDirectory(path.join(resolved, 'nbd'), 0o700);
  if (isInside || link === resolved) return resolved;
  // A link that leads elsewhere is that of a place where the installation was before, or of what it is a copy of.
  fs.rmSync(own, { force: true });
  fs.symlinkSync(resolved, own);
  return resolved;
}

/** Its name can be foretold: whoever makes it first would own the sockets in it, and the notes that a sweep goes by. */
function refuseOthers(resolved: string, directory: string): void {
  const stats = fs.lstatSync(resolved);
  const owners = [process.getuid?.(), fs.statSync(directory).uid];
  if (stats.isDirectory() && owners.includes(stats.uid) && (stats.mode & WRITABLE_BY_OTHERS) === 0)
    return;
  const problem = `it was to be the run directory of "${directory}", and somebody else made it or may write to it. Remove it`;
  throw new Refusal('INSTALLATION_FOREIGN', { path: resolved, problem });
}

/**
 * Names a run directory, for the notes in it: those that bear another's mark came with a copy, and tell of processes and mounts that
 * are the original's. One that is moved keeps its mark.
 */
export function runMarkOf(runDirectory: string): number {
  return fs.statSync(runDirectory).ino;
}

function linkAt(file: string): string | undefined {
  try {
    return fs.readlinkSync(file);
  } catch {
    return undefined;
  }
}

function realPath(directory: string): string {
  try {
    return fs.realpathSync(directory);
  } catch {
    return directory;
  }
}
