/** Where an installation keeps what: docs/architecture.md, "One installation on disk". */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Sockets have paths of at most 107 bytes; `nbd/` and 32 digits with an ending take 42. */
const RUN_PATH_BYTES_MAX = 60;

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

function runDirectoryOf(directory: string): string {
  const own = path.join(directory, 'run');
  try {
    return fs.realpathSync(own);
  } catch {
    if (Buffer.byteLength(own) <= RUN_PATH_BYTES_MAX) return own;
    const name = createHash('sha256').update(directory).digest('hex').slice(0, 12);
    return path.join(os.tmpdir(), `holdfast-${name}`);
  }
}

/** Makes the directories. DIR/run becomes a link where its own path would be too long for sockets. */
export function makeDirectories(installation: Installation): void {
  const { directory, runDirectory } = installation;
  for (const name of ['', 'drives', 'mnt', 'log']) {
    fs.mkdirSync(path.join(directory, name), { recursive: true, mode: 0o700 });
  }
  fs.mkdirSync(path.join(runDirectory, 'nbd'), { recursive: true, mode: 0o700 });
  const own = path.join(directory, 'run');
  if (runDirectory !== own && !fs.existsSync(own)) fs.symlinkSync(runDirectory, own);
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
