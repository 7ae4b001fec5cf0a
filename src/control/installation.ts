/** Where an installation keeps what: docs/architecture.md, "One installation on disk". */

import fs from 'node:fs';
import path from 'node:path';

import { makeRunDirectory, runDirectoryOf } from '../env/node/run-directory.ts';
import { Refusal } from '../model/errors.ts';

export type Installation = {
  /** DIR, absolute. */
  readonly directory: string;
  /** DIR/run, resolved. */
  readonly runDirectory: string;
  readonly apiSocket: string;
  readonly engineSocket: string;
  readonly attacherSocket: string;
  readonly logDirectory: string;
};

/** The paths of the installation in `directory`. Makes nothing. */
export function installationAt(directory: string): Installation {
  const absolute = path.resolve(directory);
  const runDirectory = runDirectoryOf(absolute);
  return {
    directory: absolute,
    runDirectory,
    apiSocket: path.join(runDirectory, 'api.sock'),
    engineSocket: path.join(runDirectory, 'engine.sock'),
    attacherSocket: path.join(runDirectory, 'attacher.sock'),
    logDirectory: path.join(absolute, 'log'),
  };
}

const FILES = ['state.db', 'engine.json', 'lock'] as const;
const FOLDERS = ['drives', 'mnt', 'log', 'run'] as const;

/** All that an installation has in DIR, for its removal. */
export const INSTALLATION_NAMES: readonly string[] = [
  ...FILES,
  'state.db-wal',
  'state.db-shm',
  'engine.json.new',
  ...FOLDERS,
];

/** Whether Holdfast was set up in `directory`. */
export function isInstallation(directory: string): boolean {
  const has = (name: string): boolean => fs.existsSync(path.join(directory, name));
  if (has('state.db') || has('engine.json')) return true;
  // Others have files of that name too; ours has the supervisor's note.
  return has('lock') && fs.readFileSync(path.join(directory, 'lock'), 'utf8').startsWith('{"pid":');
}

/**
 * Refuses a directory where something else has the names that Holdfast uses: an uninstall would delete it. Other files beside
 * them are left alone always.
 */
export function refuseForeign(directory: string): void {
  if (isInstallation(directory)) return;
  for (const name of FOLDERS) {
    const at = path.join(directory, name);
    const stats = fs.lstatSync(at, { throwIfNoEntry: false });
    if (stats === undefined || stats.isSymbolicLink()) continue;
    if (stats.isDirectory() && fs.readdirSync(at).length === 0) continue;
    if (name === 'log' && fs.readdirSync(at).join() === 'supervisor.log') continue;
    if (name === 'run' && fs.readdirSync(at).join() === 'nbd') continue;
    throw new Refusal('INSTALLATION_FOREIGN', {
      path: directory,
      problem: `"${name}" in it is not Holdfast's`,
    });
  }
}

/** Makes the directories. DIR/run becomes a link where its own path would be too long for sockets. */
export function makeDirectories(installation: Installation): void {
  try {
    make(installation);
  } catch (error) {
    const { code, message, path: at = installation.directory } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new Refusal('INSTALLATION_FOREIGN', { path: at, problem: message });
  }
}

function make({ directory }: Installation): void {
  for (const name of ['', 'drives', 'mnt', 'log']) {
    fs.mkdirSync(path.join(directory, name), { recursive: true, mode: 0o700 });
  }
  makeRunDirectory(directory);
}

/** Replaces a file as a whole, durably: a crash leaves the old or the new one. */
export function replaceFile(file: string, text: string): void {
  const temporary = `${file}.new`;
  const fd = fs.openSync(temporary, 'w', 0o600);
  fs.writeSync(fd, text);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync(temporary, file);
  const directory = fs.openSync(path.dirname(file), 'r');
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}
