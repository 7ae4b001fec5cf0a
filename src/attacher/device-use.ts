/** Who uses a block device. */

import { constants, statSync } from 'node:fs';
import { open } from 'node:fs/promises';

import { Refusal } from '../model/errors.ts';
import { readMounts } from './mount-table.ts';

/** Device number as in /proc/self/mountinfo. */
export function deviceNumber(device: string): string {
  const { rdev } = statSync(device);
  const major = (rdev >> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** Where the device is mounted, if we see it. */
export function mountsOf(device: string): string[] {
  const number = deviceNumber(device);
  return readMounts()
    .filter((entry) => entry.device === number)
    .map((entry) => entry.path);
}

/** Throws VOLUME_MOUNTED or ATTACHER_REFUSED while a file system, here or in another mount namespace, or a holder uses the device. */
export async function assertUnused(device: string): Promise<void> {
  const [path] = mountsOf(device);
  if (path !== undefined) throw new Refusal('VOLUME_MOUNTED', { volume: device, path });
  if (!(await isClaimed(device))) return;
  const problem = `"${device}" is mounted in another namespace, lies under another device, or a program such as fsck has it`;
  throw new Refusal('ATTACHER_REFUSED', { call: 'detach', problem });
}

/** Whether a file system, in whichever mount namespace, or another device has the device. */
export async function isClaimed(device: string): Promise<boolean> {
  try {
    // On a block device O_EXCL is refused to all but the first who claims it.
    await (await open(device, constants.O_RDONLY | constants.O_EXCL)).close();
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EBUSY') return true;
    throw error;
  }
}
