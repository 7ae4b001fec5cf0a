/** Which processes of the machine are an installation's. */

import fs from 'node:fs';

import { processes } from '../env/node/processes.ts';
import type { Installation } from './installation.ts';
import { memberWords } from './own-etcd.ts';
import { KEPT, type Kept, isMain } from './roles.ts';
import { readSupervisor } from './supervisor-state.ts';

/** The processes that outlived the supervisor which started them, by role. */
export function livingRoles({ directory, runDirectory }: Installation): readonly Kept[] {
  const known = readSupervisor(runDirectory)?.processes;
  return KEPT.filter((role) => {
    const pid = known?.[role]?.pid ?? null;
    return pid !== null && isOurs(pid, role, directory);
  });
}

/** Whether `pid` is a process of this installation in that role: pids are used again. */
export function isOurs(pid: number, role: Kept, directory: string): boolean {
  const words = processes.wordsOf(pid);
  if (role === 'etcd') return memberWords(directory).every((word) => words.includes(word));
  const data = words[words.indexOf('--data') + 1] ?? '';
  return words.includes(role) && isSamePlace(data, directory) && words.some(isMain);
}

/** A directory may have been named by a link to it. */
const isSamePlace = (a: string, b: string): boolean =>
  a === b || (fs.existsSync(a) && fs.existsSync(b) && fs.realpathSync(a) === fs.realpathSync(b));
