/** up, down and upgrade of an installation whose processes are services of systemd, and what a stop of theirs runs first. */

import { setTimeout as sleep } from 'node:timers/promises';
import { servedInstallation } from '../../control/served-installation.ts';
import { isServing, servedRoles, systemctl } from '../../control/service-manager.ts';
import { TARGET, serviceOf } from '../../control/units.ts';
import type { Installation } from '../../control/installation.ts';
import type { ReleasedView } from '../../control/schemas.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';

const RELEASE_LOOK_MS = 500;
const STOP_LOOK_MS = 100;
/** More than the units' own limits together. */
const STOP_MS_MAX = 300_000;

/** `force`: volumes whose I/O stands still are detached, and what was not flushed may be lost. */
export type DownWish = { readonly force?: boolean | undefined };

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
  const [users] = await release(context, wish).catch((error: unknown) => {
    if (isStalled(error)) throw error;
    return [];
  });
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

/**
 * Has control unmount all and take the devices away. Says which file systems had stopped writing, and what it detaches by `force`;
 * resolves with what stands in the way. Throws VOLUME_STALLED, and ends nothing, where I/O stands still.
 */
export async function release(
  { api, output }: Context,
  { force = false }: DownWish = {},
): Promise<readonly string[]> {
  for (;;) {
    const { problems, stopped, stalled } = await api.post<ReleasedView>('/v1/release', {});
    // One of an earlier version knows less.
    for (const each of stopped ?? []) output.note(each);
    const [stall] = stalled ?? [];
    if (stall === undefined) return problems;
    if (!force) throw new Refusal('VOLUME_STALLED', stall);
    const { volume, reason } = stall;
    output.note(`Detaching volume "${volume}" by force: ${reason}`);
    await api.delete(`/v1/volumes/${encodeURIComponent(volume)}/attachment?force=true`);
  }
}

/** Whether I/O stands still on a volume that is to be unmounted. */
export const isStalled = (error: unknown): error is Refusal =>
  error instanceof Refusal && error.code === 'VOLUME_STALLED';
