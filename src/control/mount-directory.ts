/** The directories that file systems are mounted on: found, made, and named as the kernel names them. */

import { realpathSync } from 'node:fs';
import { mkdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

import { type MadeMount, removeEmpty } from '../attacher/made-directories.ts';
import { makeDirectory } from '../env/node/make-directory.ts';
import { Refusal } from '../model/errors.ts';

/**
 * `path` as the kernel has it, or would have it once it was made: one mount point has one name, whatever links lead to it. Throws
 * MOUNT_PATH_USED.
 */
export async function kernelPath(path: string): Promise<string> {
  try {
    const there = await nearestDirectory(path);
    return join(await realpath(there), relative(there, path));
  } catch (error) {
    throw pathProblem(path, error);
  }
}

/** The directory itself, or the one in which it would be made. */
export async function nearestDirectory(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    const stats = await stat(at).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (stats?.isDirectory() === true) return at;
    if (stats !== undefined) {
      throw new Refusal('MOUNT_PATH_USED', { path, problem: 'it is no directory' });
    }
  }
}

/** `path` as the kernel has it; as it is where nothing is there. */
export async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return path;
  }
}

export type Directory = Pick<MadeMount, 'path' | 'owned' | 'parents'>;

/** The directory, its path resolved as mountinfo has it, and what of it was made here. */
export async function ensureDirectory(path: string): Promise<Directory> {
  let parents: readonly string[] = [];
  try {
    parents = makeDirectory(dirname(path), 0o700).map((at) => realpathSync(at));
    const owned = await makeMountPoint(path);
    return { path: await realpath(path), owned, parents };
  } catch (error) {
    for (const made of parents.toReversed()) removeEmpty(made);
    throw pathProblem(path, error);
  }
}

/** What the kernel said of a path, as a refusal; anything else as it is. */
export function pathProblem(path: string, error: unknown): unknown {
  if (error instanceof Refusal || !(error instanceof Error && 'code' in error)) return error;
  return new Refusal('MOUNT_PATH_USED', { path, problem: error.message });
}

/** Whether it was made here, and not there before. */
async function makeMountPoint(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o755 });
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    const stats = await stat(path).catch(() => undefined);
    if (stats?.isDirectory() === true) return false;
    throw new Refusal('MOUNT_PATH_USED', { path, problem: 'it is no directory' });
  }
}
