/** Removal of the directories that were made for a mount: those that are empty. */

import { rmdirSync } from 'node:fs';

import type { Made, MadeLog } from './made-log.ts';

export type MadeMount = Extract<Made, { kind: 'mount' }>;

/**
 * Removes the mount point and what was made above it, innermost first, as far as they are empty. What stays because another recorded
 * mount is below it becomes that mount's, which removes it in its turn.
 */
export function removeMadeDirectories(log: MadeLog, mount: MadeMount): void {
  if (mount.owned && !removeEmpty(mount.path)) return;
  const parents = [...mount.parents];
  while (parents.length > 0 && removeEmpty(parents.at(-1) ?? '')) parents.pop();
  const innermost = parents.at(-1);
  if (innermost === undefined) return;
  const heir = log
    .entries()
    .find(
      (made): made is MadeMount =>
        made.kind === 'mount' && made.path !== mount.path && made.path.startsWith(`${innermost}/`),
    );
  if (heir !== undefined) log.record({ ...heir, parents: [...parents, ...heir.parents] });
}

/** Whether it is gone. */
export function removeEmpty(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    // Not empty, or busy: not ours to force.
    return error instanceof Error && 'code' in error && error.code === 'ENOENT';
  }
}
