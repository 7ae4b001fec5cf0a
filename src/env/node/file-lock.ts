/**
 * A lock that is a file: held as long as the process lives, freed by the kernel when it dies, and telling who holds it. The
 * supervisor's DIR/lock.
 */

import fs from 'node:fs';

import { EAGAIN, ErrnoError } from '../../model/errno.ts';
import { toErrnoError } from './errno-of.ts';
import { openLibc } from './libc.ts';

const MODE = 0o600;
/** More than {pid, startedAt, command} takes. */
const NOTE_BYTES_MAX = 65_536;

export type FileLock =
  /** A process that is started with `fd` holds the lock too, and keeps it after our release. */
  | { readonly kind: 'locked'; readonly fd: number; release(): void }
  /** `note` is what the holder wrote, or empty while it has not yet. */
  | { readonly kind: 'held'; readonly note: string };

/**
 * Locks the file at `path`, which is made if it is not there and never removed: removing it would let two processes lock
 * two files of one name. Writes `note` into it. `inherited`: the descriptor that a holder started this process with. Throws
 * {@link ErrnoError} if the file cannot be opened or written.
 */
export function lockFile(path: string, note: string, inherited?: number): FileLock {
  const fd = inherited ?? openLock(path);
  try {
    const errno = openLibc().lockExclusive(fd);
    if (errno === EAGAIN) {
      const bytes = new Uint8Array(NOTE_BYTES_MAX);
      const count = fs.readSync(fd, bytes, 0, NOTE_BYTES_MAX, 0);
      fs.closeSync(fd);
      return { kind: 'held', note: new TextDecoder().decode(bytes.subarray(0, count)) };
    }
    if (errno !== 0) throw new ErrnoError({ errno, syscall: 'flock', path });
    fs.ftruncateSync(fd, 0);
    fs.writeSync(fd, note, 0);
    return { kind: 'locked', fd, release: () => fs.closeSync(fd) };
  } catch (error) {
    fs.closeSync(fd);
    throw toErrnoError(error, 'lock', path);
  }
}

function openLock(path: string): number {
  try {
    return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, MODE);
  } catch (error) {
    throw toErrnoError(error, 'open', path);
  }
}
