/** Ends what a dead tour left running: the programs that were started with a path in its own folder. */

import { setTimeout as sleep } from 'node:timers/promises';

import { processes } from '../env/node/processes.ts';

const END_MS_MAX = 30_000;

/** Asks them to end (PostgreSQL: the fast shutdown) and waits. The folder's name is random: nobody else's program bears it. */
export async function endProcessesOf(workFolder: string): Promise<void> {
  for (const pid of processesOf(workFolder)) process.kill(pid, 'SIGINT');
  const deadlineMs = performance.now() + END_MS_MAX;
  for (let left = processesOf(workFolder); left.length > 0; left = processesOf(workFolder)) {
    if (performance.now() > deadlineMs) {
      throw new Error(`Processes of the last tour do not end: ${left.join(', ')}`);
    }
    await sleep(50);
  }
}

function processesOf(workFolder: string): number[] {
  return processes
    .pids()
    .filter((pid) => processes.wordsOf(pid).join(' ').includes(`${workFolder}/`));
}
