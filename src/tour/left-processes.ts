/** Ends what a dead tour left running: the programs that were started with a path in its own folder. */

import { setTimeout as sleep } from 'node:timers/promises';

import { processes } from '../env/node/processes.ts';

const END_MS_MAX = 30_000;

/** Asks them to end (PostgreSQL: the fast shutdown) and waits. The folder's name is random: nobody else's program bears it. */
export async function endProcessesOf(workFolder: string): Promise<void> {
  for (const pid of processesIn(workFolder)) process.kill(pid, 'SIGINT');
  const deadlineMs = performance.now() + END_MS_MAX;
  for (let left = processesIn(workFolder); left.length > 0; left = processesIn(workFolder)) {
    if (performance.now() > deadlineMs) {
      throw new Error(`Processes of the last tour do not end: ${left.join(', ')}`);
    }
    await sleep(50);
  }
}

/** The programs that were started with a path in the work folder of a tour. */
export function processesIn(workFolder: string): number[] {
  return processes
    .pids()
    .filter((pid) => processes.wordsOf(pid).join(' ').includes(`${workFolder}/`));
}
