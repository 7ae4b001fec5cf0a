/** Where an installation keeps what: docs/architecture.md, "One installation on disk". */

import fs from 'node:fs';
import path from 'node:path';

import { makeDirectory } from '../env/node/make-directory.ts';
import { makeRunDirectory, runDirectoryOf } from '../env/node/run-directory.ts';
import { EDQUOT, ENOSPC, errnoInWords } from '../model/errno.ts';
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
  /** Where the API listens besides its socket. */
  readonly apiFile: string;
  readonly tokenFile: string;
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
    apiFile: path.join(absolute, 'api.json'),
    tokenFile: path.join(absolute, 'token'),
  };
}

const FILES = [
  'state.db',
  'store.json',
  'engine.json',
  'lock',
  'api.json',
  'token',
  'etcd.json',
] as const;
const FOLDERS = ['drives', 'mnt', 'log', 'run', 'etcd'] as const;
/** Of a node of a cluster. */
const NODE_NAMES = ['node.json', 'node.json.new', 'tls'] as const;

/** All that an installation has in DIR, for its removal. */
export const INSTALLATION_NAMES: readonly string[] = [
  ...FILES,
  'state.db-wal',
  'state.db-shm',
  'store.json.new',
  'store.json.begun',
  'store.json.begun.new',
  'store-seen.json',
  'store-members.json',
  'store-members.json.new',
  'engine.json.new',
  'api.json.new',
  'token.new',
  'etcd.json.new',
  ...FOLDERS,
  ...NODE_NAMES,
];

/** Whether Holdfast was set up in `directory`. Throws INSTALLATION_FOREIGN where that cannot be told. */
export function isInstallation(directory: string): boolean {
  return refusing(directory, () => {
    const isFile = (name: string): boolean =>
      statsOf(path.join(directory, name))?.isFile() === true;
    if (['state.db', 'engine.json'].some(isFile)) return true;
    if (isFile('store.json') && isOwnStore(path.join(directory, 'store.json'))) return true;
    if (isFile('node.json') && isOwnNode(path.join(directory, 'node.json'))) return true;
    // Others have files of that name too; ours has the supervisor's note.
    return isFile('lock') && isOwnLock(path.join(directory, 'lock'));
  });
}

const isOwnStore = (file: string): boolean =>
  /"(owner|sqlite)":/.test(fs.readFileSync(file, 'utf8'));

const isOwnNode = (file: string): boolean => fs.readFileSync(file, 'utf8').includes('"cluster":');

const isOwnLock = (file: string): boolean => fs.readFileSync(file, 'utf8').startsWith('{"pid":');

/** What a fresh file system has in its root, and what a start leaves that found no room. */
const IS_NOBODYS = /^(lost\+found|probe-\d+)$/;

/** Refuses a directory that is somebody else's: one with anything in it, unless Holdfast was set up there. */
export function refuseForeign(directory: string): void {
  if (isInstallation(directory)) return;
  refusing(directory, () => {
    const entries = statsOf(directory) === undefined ? [] : fs.readdirSync(directory);
    const other = entries.find(
      (name) => !INSTALLATION_NAMES.includes(name) && !IS_NOBODYS.test(name),
    );
    if (other !== undefined) {
      const problem = `there is "${other}" in it. Give an empty directory, or one that is not there yet`;
      throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
    }
    const name = FILES.find((each) => !isOwnFile(path.join(directory, each)));
    const foreign = name ?? FOLDERS.find((each) => !isOwnFolder(path.join(directory, each), each));
    if (foreign === undefined) return;
    const problem = `"${foreign}" in it is not Holdfast's`;
    throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
  });
}

/** Not there, or empty: as a crash leaves the lock before its note is written. */
function isOwnFile(at: string): boolean {
  const stats = statsOf(at);
  return stats === undefined || (stats.isFile() && stats.size === 0);
}

function isOwnFolder(at: string, name: (typeof FOLDERS)[number]): boolean {
  const stats = statsOf(at);
  if (stats === undefined || stats.isSymbolicLink()) return true;
  if (!stats.isDirectory()) return false;
  return fs.readdirSync(at).every((inside) => STARTED[name].includes(inside));
}

/** What is in the folders before the rest: the log that a start begins with, and the note of a tour that is about to start. */
const STARTED: Readonly<Record<(typeof FOLDERS)[number], readonly string[]>> = {
  drives: [],
  mnt: [],
  log: ['supervisor.log', 'tour'],
  run: ['nbd'],
  etcd: [],
};

const statsOf = (at: string): fs.Stats | undefined => fs.lstatSync(at, { throwIfNoEntry: false });

/** Makes the directories. DIR/run becomes a link where its own path would be too long for sockets. */
export function makeDirectories(installation: Installation): void {
  const { directory } = installation;
  refusing(directory, () => {
    for (const name of ['', 'drives', 'mnt', 'log']) {
      makeDirectory(path.join(directory, name), 0o700);
    }
    makeRunDirectory(directory);
  });
}

/** What a start writes before the first volume: records, logs, notes. */
const START_BYTES = 256 * 1024;

/** Throws INSTALLATION_START where DIR takes no bytes: without room a start cannot even log why it failed. */
export function refuseFull({ directory }: Installation): void {
  try {
    const probe = path.join(directory, `probe-${process.pid}`);
    const fd = fs.openSync(probe, 'wx', 0o600);
    try {
      fs.unlinkSync(probe);
      // A write may be short where the space ends; the next one then says so.
      const bytes = new Uint8Array(START_BYTES);
      for (let at = 0; at < START_BYTES; at += fs.writeSync(fd, bytes, 0, START_BYTES - at));
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const way = -errno === ENOSPC || -errno === EDQUOT ? '; free some space' : '';
    const problem = `"${directory}" cannot be written: ${errnoInWords(-errno)}${way}`;
    throw new Refusal('INSTALLATION_START', { problem });
  }
}

/** Does `work`; what the system refuses becomes a refusal that names the directory and the reason. */
function refusing<Result>(directory: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const { errno, syscall, path: at } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const where = at === undefined || at === directory ? '' : ` "${at}"`;
    const problem = `${syscall}${where}: ${errnoInWords(-errno)}`;
    throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
  }
}

/** Replaces a file as a whole, durably: a crash, or a disk that is full, leaves the old or the new one. */
export function replaceFile(file: string, text: string): void {
  const temporary = `${file}.new`;
  const fd = fs.openSync(temporary, 'w', 0o600);
  try {
    fs.writeFileSync(fd, text);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file));
}

/** Makes durable which files are in `directory`. */
export function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
