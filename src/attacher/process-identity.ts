/** Names a process so that a later one of the same number is not taken for it. */

import { readFileSync } from 'node:fs';

export type ProcessIdentity = { readonly pid: number; readonly startTicks: number };

/** Fields of /proc/PID/stat after the command, which stands in parentheses and may hold anything. */
const START_TIME_FIELD = 19;
const ZOMBIE = 'Z';

/** Identity of the process `pid`. Undefined if there is none, or none that still runs. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === ZOMBIE) return undefined;
  return { pid, startTicks: Number(fields[START_TIME_FIELD]) };
}

/** Whether that very process still runs, and not another that got its number. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTicks === identity.startTicks;
}
