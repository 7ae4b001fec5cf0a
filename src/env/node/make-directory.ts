/** mkdir -p that always ends: Node's own loops for ever where a directory that exists answers ENOENT, as /proc does. */

import fs from 'node:fs';
import path from 'node:path';

/** Makes `directory` (absolute) and what is missing above it, each with `mode`. Returns what it made, outermost first. Throws what mkdir throws. */
export function makeDirectory(directory: string, mode: number): string[] {
  const missing: string[] = [];
  for (let at = directory; !isDirectory(at) && path.dirname(at) !== at; at = path.dirname(at)) {
    missing.unshift(at);
  }
  const made: string[] = [];
  for (const at of missing) {
    try {
      fs.mkdirSync(at, { mode });
      made.push(at);
    } catch (error) {
      // Another process may have made it meanwhile.
      if (!isDirectory(at)) throw error;
    }
  }
  return made;
}

function isDirectory(at: string): boolean {
  try {
    return fs.statSync(at).isDirectory();
  } catch {
    return false;
  }
}
