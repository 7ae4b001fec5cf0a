/**
 * DIR/store-seen.json: the revision of the last commit in etcd. It is written in place without a flush, 64 bytes of one sector: SIGKILL
 * loses nothing of it, and a power cut some seconds, which only makes the check at the next start coarser.
 */

import fs from 'node:fs';
import path from 'node:path';

const BYTES = 64;

const fileOf = (directory: string): string => path.join(directory, 'store-seen.json');

/** The revision; 0 where none is known. */
export function readSeen(directory: string): number {
  try {
    const seen: { revision?: unknown } = JSON.parse(fs.readFileSync(fileOf(directory), 'utf8'));
    return Number.isSafeInteger(seen.revision) ? Number(seen.revision) : 0;
  } catch {
    return 0;
  }
}

/** Keeps revisions, until it is closed. A disk that refuses leaves the earlier one. */
export function openSeen(directory: string): {
  readonly write: (revision: number) => void;
  readonly close: () => void;
} {
  const fd = fs.openSync(fileOf(directory), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  return {
    write(revision) {
      const text = JSON.stringify({ version: 1, revision }).padEnd(BYTES - 1);
      try {
        fs.writeSync(fd, `${text}\n`, 0);
      } catch {
        // An older revision is a weaker check, and no reason to refuse what etcd has committed.
      }
    },
    close: () => fs.closeSync(fd),
  };
}
