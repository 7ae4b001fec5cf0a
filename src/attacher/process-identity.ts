/** Names a process so that a later one of the same number is not taken for it. */

import { processes } from '../env/node/processes.ts';

export type ProcessIdentity = { readonly pid: number; readonly startTicks: number };

/** Identity of the process `pid`. Undefined if there is none, or none that still runs. */
export function identify(pid: number): ProcessIdentity | undefined {
  const startTicks = processes.startOf(pid);
  return startTicks === undefined ? undefined : { pid, startTicks };
}

/** Whether that very process still runs, and not another that got its number. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTicks === identity.startTicks;
}
