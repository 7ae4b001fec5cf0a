/** Ends an installation in order, also one whose supervisor is dead. */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { type ProcessIdentity, isAlive } from '../../attacher/process-identity.ts';
import type { Installation } from '../../control/installation.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { sweepDead } from '../../control/installation-lock.ts';
import { livingRoles } from '../../control/own-processes.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { findInstallation } from './find-installation.ts';
import { type DownWish, releaseAttached } from './release.ts';
import { isServed, stopServices } from './services.ts';
import { startDetached } from './start.ts';

const DOWN_MS_MAX = 90_000;
const LOOK_MS = 20;

/**
 * Unmounts and ends what runs; resolves with `idle` where nothing did. Throws MOUNT_BUSY, and ends nothing, while a process uses a
 * mount, and VOLUME_STALLED where I/O stands still.
 */
export async function down(context: Context, wish: DownWish = {}): Promise<'ended' | 'idle'> {
  const deadline = performance.now() + DOWN_MS_MAX;
  for (;;) {
    try {
      return await endAll(context, wish);
    } catch (error) {
      // Who has the lock without being the supervisor is starting, and soon is, or cleans up, and soon is not.
      const isHeld = error instanceof Refusal && error.code === 'INSTALLATION_RUNNING';
      if (!isHeld || performance.now() > deadline) throw error;
    }
    await sleep(LOOK_MS);
  }
}

async function endAll(context: Context, wish: DownWish): Promise<'ended' | 'idle'> {
  const { installation } = context;
  if (isServed(installation)) {
    const ended = await stopServices(context, wish);
    const swept = await undoDead(installation);
    return ended === 'ended' ? ended : swept;
  }
  const supervisor = await findSupervisor(context);
  if (supervisor === undefined) return undoDead(installation);
  const [problem] = await releaseAttached(context, wish);
  if (problem !== undefined)
    throw new Refusal('MOUNT_BUSY', { path: installation.directory, users: problem });
  // An upgrade may have replaced it meanwhile.
  await endSupervisor((await findSupervisor(context)) ?? supervisor, installation);
  const [role] = livingRoles(installation);
  if (role !== undefined) throw unended(installation, `its ${role} outlived the supervisor`);
  return 'ended';
}

/** Has a supervisor end what it started, and waits for it. */
export async function endSupervisor(
  supervisor: ProcessIdentity,
  installation: Installation,
): Promise<void> {
  askToEnd(supervisor, installation);
  const deadline = performance.now() + DOWN_MS_MAX;
  while (isAlive(supervisor)) {
    if (performance.now() > deadline) {
      const late = `process ${supervisor.pid} has not ended after ${DOWN_MS_MAX / 1000} s`;
      throw unended(installation, late);
    }
    await sleep(LOOK_MS);
  }
}

/** The supervisor, or a new one where it died and left processes: only that one can end them in order. Undefined where nothing runs. */
async function findSupervisor(context: Context): Promise<ProcessIdentity | undefined> {
  const { installation, output } = context;
  const known = readSupervisor(installation.runDirectory);
  if (known !== undefined && isAlive(known)) return known;
  if (livingRoles(installation).length === 0) return undefined;
  output.note('The supervisor is dead, and what it started runs: taking over to end it in order');
  try {
    await startDetached(context);
  } catch (error) {
    const started = readSupervisor(installation.runDirectory);
    // One that runs and is not ready can be ended all the same.
    if (started === undefined || !isAlive(started)) throw error;
  }
  return readSupervisor(installation.runDirectory);
}

function askToEnd(supervisor: ProcessIdentity, installation: Installation): void {
  if (!isAlive(supervisor)) return;
  try {
    process.kill(supervisor.pid, 'SIGTERM');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EPERM') throw unended(installation, `process ${supervisor.pid}: ${message}`);
  }
}

/** Undoes what processes that are dead left in the machine. */
async function undoDead(installation: Installation): Promise<'ended' | 'idle'> {
  const { undone, left } = await sweepDead(installation);
  const kept = left.find(({ made }) => made.kind !== 'socket');
  if (kept === undefined) return undone.length > 0 ? 'ended' : 'idle';
  const { made, reason } = kept;
  throw new Refusal('MOUNT_BUSY', {
    path: 'path' in made ? made.path : made.device,
    users: reason,
  });
}

function unended({ directory }: Installation, problem: string): Refusal {
  return new Refusal('INSTALLATION_STOP', { dataDir: directory, problem });
}

/** {@link down}, said in words; where there is no installation, that is refused. `node`: of a cluster on this machine that one alone. */
export async function downAndTell(
  context: Context,
  { node, ...wish }: DownWish & { readonly node?: string | undefined },
): Promise<void> {
  const { cluster, output } = context;
  if (cluster !== undefined) {
    const { downNodes } = await import('./nodes.ts');
    const ended = await downNodes(context, cluster, { node, ...wish });
    const what = node === undefined ? 'Holdfast' : `Node ${node}`;
    const said = ended === 'ended' ? 'no longer runs' : 'does not run';
    output.result({ down: true }, `${what} ${said} in "${cluster.directory}"`);
    return;
  }
  const { directory } = context.installation;
  if (!findInstallation(context.installation)) {
    const problem = 'there is no such directory';
    throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
  }
  const ended = await down(context, wish);
  const text = ended === 'ended' ? 'no longer runs' : 'does not run';
  output.result({ down: true }, `Holdfast ${text} in "${directory}"`);
}
