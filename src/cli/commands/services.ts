/** up, down and upgrade of an installation whose processes are services of systemd, and what a stop of theirs runs first. */

import { setTimeout as sleep } from 'node:timers/promises';
import { servedInstallation } from '../../control/served-installation.ts';
import { isServing, servedRoles, systemctl } from '../../control/service-manager.ts';
import { TARGET, serviceOf } from '../../control/units.ts';
import type { Installation } from '../../control/installation.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { type DownWish, release, releaseAttached } from './release.ts';

const RELEASE_LOOK_MS = 500;
const STOP_LOOK_MS = 100;
/** More than the units' own limits together. */
const STOP_MS_MAX = 300_000;

/** Whether systemd starts the processes of this installation. */
export const isServed = ({ directory }: Installation): boolean =>
  servedInstallation() === directory;

/** Starts the services and waits until they are ready. `isChanged`: control is to read again what it reads at its start. */
export async function startServices({ isChanged }: { readonly isChanged: boolean }): Promise<void> {
  if (isChanged && (await isServing())) await systemctl('stop', serviceOf('control'));
  // Named, a service that does not start is told; wanted by the target, it is not.
  await systemctl('start', ...servedRoles().map(serviceOf), TARGET);
}

/** Unmounts, and stops the services. Throws MOUNT_BUSY, and stops nothing, while a process uses a mount. */
export async function stopServices(
  context: Context,
  wish: DownWish = {},
): Promise<'ended' | 'idle'> {
  if (!(await isServing())) return 'idle';
  const { directory } = context.installation;
  const [users] = await releaseAttached(context, wish);
  if (users !== undefined) throw new Refusal('MOUNT_BUSY', { path: directory, users });
  await systemctl('stop', TARGET);
  // The target is down at once. Its services follow one after the other, each within its own limit.
  for (
    const deadline = performance.now() + STOP_MS_MAX;
    await isServing();
    await sleep(STOP_LOOK_MS)
  ) {
    if (performance.now() < deadline) continue;
    const problem = `its services have not ended after ${STOP_MS_MAX / 1000} s`;
    throw new Refusal('INSTALLATION_STOP', { dataDir: directory, problem });
  }
  return 'ended';
}

/** Replaces engine and control by what their units say now. */
export async function restartServices(): Promise<void> {
  await systemctl('restart', serviceOf('engine'));
  await systemctl('restart', serviceOf('control'));
}

/** What the services run before they end: unmounts, and waits for who still uses a mount, until systemd ends the wait. */
export async function releaseAll(context: Context): Promise<void> {
  for (let said = ''; ;) {
    const problems = await release(context).catch((error: unknown) => [String(error)]);
    const text = problems.join('; ');
    if (text === '') return;
    if (text !== said) process.stderr.write(`Not released yet: ${text}\n`);
    said = text;
    await sleep(RELEASE_LOOK_MS);
  }
}
