/** Whether a drive lies in memory, where nothing is kept over a reboot. */

import fs from 'node:fs';
import path from 'node:path';

/** Magic numbers of statfs(2), by the name of the file system. */
const IN_MEMORY: readonly (readonly [name: string, magic: number])[] = [
  ['tmpfs', 0x01021994],
  ['ramfs', 0x858458f6],
];

/** The warning for a drive in the file at `file`, or null where its contents last. */
export function volatileWarning(file: string): string | null {
  try {
    const { type } = fs.statfsSync(path.dirname(file));
    const found = IN_MEMORY.find(([, magic]) => magic === type);
    // A device node lies on a file system in memory too, and is something else.
    if (found === undefined || !fs.statSync(file).isFile()) return null;
    return `"${file}" is on ${found[0]}, in memory: all that is on it vanishes at a reboot`;
  } catch {
    // Gone, or not ours to see: the drive's state tells.
    return null;
  }
}
