/** Loop devices and the files below them: two names for the same bytes, of which only one may be in use. */

import fs from 'node:fs';
import path from 'node:path';

import { EBUSY } from '../../model/errno.ts';
import { toErrnoError } from './errno-of.ts';

const BLOCK_DEVICES = '/sys/block';

export type FileBelow = { readonly path: string; /** As in /dev. */ readonly loop: string };

/** The file below the loop device `rdev`, or below the one that it is a partition of; undefined where there is none to be seen. */
export function fileBelow(rdev: number): FileBelow | undefined {
  const device = `/sys/dev/block/${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;
  const folder = ['loop', '../loop'].map((name) => `${device}/${name}`).find(fs.existsSync);
  if (folder === undefined) return undefined;
  const below = fs.readFileSync(`${folder}/backing_file`, 'utf8').trimEnd();
  if (!fs.existsSync(below)) return undefined;
  // The kernel's own, since `..` is meant after the link before it.
  return { path: below, loop: path.basename(path.dirname(fs.realpathSync.native(folder))) };
}

/**
 * Throws EBUSY where a loop device over the file at `below`, other than `own`, is a drive or is mounted. Who has one open holds no lock
 * of the file, but claims the device (O_EXCL), as the kernel does for a mount.
 */
export function refuseUsedAbove(below: string, own?: string): void {
  if (!fs.existsSync(BLOCK_DEVICES)) return;
  // By name: looking at the file of somebody else's device may wait for whoever serves it.
  const real = fs.realpathSync(below);
  for (const name of fs.readdirSync(BLOCK_DEVICES)) {
    const file = `${BLOCK_DEVICES}/${name}/loop/backing_file`;
    if (name === own || !fs.existsSync(file)) continue;
    if (fs.readFileSync(file, 'utf8').trimEnd() === real) refuseClaimed(`/dev/${name}`);
  }
}

function refuseClaimed(device: string): void {
  const { O_RDONLY, O_EXCL } = fs.constants;
  try {
    fs.closeSync(fs.openSync(device, O_RDONLY | O_EXCL));
  } catch (error) {
    const failure = toErrnoError(error, 'open', device);
    if (failure.errno === EBUSY) throw failure;
  }
}
