/** Processes that keep a file system busy. */

import { readFile, readdir, readlink } from 'node:fs/promises';

import { deviceNumber } from '../attacher/device-use.ts';

export type PathUser = { readonly pid: number; readonly name: string };

/** Processes whose directory, root, program, open files or mappings lie below `path`, as far as /proc lets us see. */
export async function usersOf(path: string): Promise<PathUser[]> {
  return await processesThat((pid) => uses(pid, path));
}

/** Processes in other mount namespaces that have the device mounted: those of containers, as far as /proc lets us see. */
export async function namespaceUsersOf(device: string): Promise<PathUser[]> {
  const number = deviceNumber(device);
  const own = await readlink('/proc/self/ns/mnt');
  return await processesThat(async (pid) => {
    if ((await readlink(`/proc/${pid}/ns/mnt`).catch(() => own)) === own) return false;
    // proc_pid_mountinfo(5): the device number is the third field.
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    return mounts.split('\n').some((line) => line.split(' ')[2] === number);
  });
}

async function processesThat(use: (pid: string) => Promise<boolean>): Promise<PathUser[]> {
  const users: PathUser[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || !(await use(pid))) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined);
    // One that ended meanwhile holds nothing.
    if (name !== undefined) users.push({ pid: Number(pid), name: name.trim() });
  }
  return users;
}

async function uses(pid: string, path: string): Promise<boolean> {
  const isBelow = (target: string): boolean => target === path || target.startsWith(`${path}/`);
  for (const name of ['cwd', 'root', 'exe']) {
    if (isBelow(await readlink(`/proc/${pid}/${name}`).catch(() => ''))) return true;
  }
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    if (isBelow(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))) return true;
  }
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '');
  return maps.includes(` ${path}/`);
}
