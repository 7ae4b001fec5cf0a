/** Ends an installation in order. */

import process from 'node:process';

import { isAlive } from '../../attacher/process-identity.ts';
import { readSupervisor } from '../../control/status.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';

const DOWN_MS_MAX = 90_000;

/** Unmounts and ends what runs. Throws MOUNT_BUSY, and ends nothing, while a process uses a mount. */
export async function down(context: Context): Promise<void> {
  const { installation } = context;
  const supervisor = readSupervisor(installation.runDirectory);
  if (supervisor === undefined || !isAlive(supervisor)) return;
  const mounted = await context.api
    .post<{ problems: string[] }>('/v1/release', {})
    .catch(() => ({ problems: [] as string[] }));
  const [problem] = mounted.problems;
  if (problem !== undefined)
    throw new Refusal('MOUNT_BUSY', { path: installation.directory, users: problem });
  if (isAlive(supervisor)) process.kill(supervisor.pid, 'SIGTERM');
  const deadline = Date.now() + DOWN_MS_MAX;
  while (isAlive(supervisor)) {
    if (Date.now() > deadline) {
      throw new Refusal('INSTALLATION_START', {
        problem: `process ${supervisor.pid} has not ended after ${DOWN_MS_MAX / 1000} s`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
