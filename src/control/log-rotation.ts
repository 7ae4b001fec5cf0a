/** Keeps the logs of running processes small: what has grown too large is copied to FILE.1 and cut to nothing. */

import fs from 'node:fs';
import path from 'node:path';

/** With one old copy each, four logs take at most 128 MiB. */
export const LOG_BYTES_MAX: number = 16 * 1024 * 1024;
/** A process that writes 1 MB/s of log is ill, and then has written 60 MB. */
const CHECK_MS = 60_000;

/** Looks at the logs now and then, as long as this process lives. */
export function startLogRotation(directory: string): void {
  setInterval(() => rotateLogs(directory), CHECK_MS).unref();
}

/**
 * Rotates what is larger than `bytesMax`. The writers keep their descriptors, which append: so the file is copied and cut, and a
 * line written in between is lost.
 */
export function rotateLogs(directory: string, bytesMax: number = LOG_BYTES_MAX): void {
  for (const name of namesIn(directory)) {
    const file = path.join(directory, name);
    try {
      if (!name.endsWith('.log') || fs.statSync(file).size <= bytesMax) continue;
      fs.copyFileSync(file, `${file}.1`);
      fs.truncateSync(file, 0);
    } catch {
      // A full disk or a deleted file: the log is the least of it, and the next look tries again.
    }
  }
}

/** None where somebody deleted the directory: whoever rotates keeps the processes alive, and must not end of that. */
function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}
