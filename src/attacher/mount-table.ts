/** /proc/self/mountinfo (proc(5)): what is mounted where. */

import { readFileSync } from 'node:fs';
import process from 'node:process';

export type MountEntry = {
  /** Device number of the file system, `major:minor`. */
  readonly device: string;
  readonly path: string;
  readonly type: string;
  readonly source: string;
  /** The file system takes no writes, here or anywhere. */
  readonly isReadOnly: boolean;
};

/** Every mount that this process sees, the later over the earlier. */
export function readMounts(): MountEntry[] {
  // Elsewhere nothing of ours is mounted.
  if (process.platform !== 'linux') return [];
  return parseMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** The topmost mount at exactly `path`. */
export function mountAt(path: string): MountEntry | undefined {
  return readMounts().findLast((entry) => entry.path === path);
}

/** The mounts in directories below `path`. */
export function mountsBelow(path: string): MountEntry[] {
  return readMounts().filter((entry) => entry.path.startsWith(`${path}/`));
}

/** The one of `mounts` in which `path` is; by name alone, since a file of a volume that stands still does not answer. */
export function mountHolding(path: string, mounts: readonly MountEntry[]): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of mounts) {
    const holds = entry.path === '/' || path === entry.path || path.startsWith(`${entry.path}/`);
    // Of those at one place the last is on top.
    if (holds && entry.path.length >= (best?.path.length ?? 0)) best = entry;
  }
  return best;
}

/** Lines: id, parent, major:minor, root, path, options, optional fields, "-", type, source, super options. */
export function parseMounts(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const left = before.split(' ');
    const right = after.split(' ');
    if (left.length < 6 || right.length < 2) continue;
    entries.push({
      device: left[2]!,
      path: unescape(left[4]!),
      type: right[0]!,
      source: unescape(right[1]!),
      isReadOnly: isReadOnly(left[5]!) || isReadOnly(right[2] ?? ''),
    });
  }
  return entries;
}

const isReadOnly = (options: string): boolean => options.split(',').includes('ro');

/** Space, tab, newline and backslash stand as octal. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
