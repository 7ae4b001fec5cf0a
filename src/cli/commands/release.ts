/** Has control unmount all, before what serves it ends. */

import { setTimeout as sleep } from 'node:timers/promises';

import { MadeLog } from '../../attacher/made-log.ts';
import type { Installation } from '../../control/installation.ts';
import type { ReleasedView } from '../../control/schemas.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';

/** `force`: volumes whose I/O stands still are detached, and what was not flushed may be lost. */
export type DownWish = { readonly force?: boolean | undefined };

/** Control that died, or is being replaced, is back within a second or two. */
const CONTROL_AWAY_MS_MAX = 30_000;
const AWAY_LOOK_MS = 100;

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

/**
 * {@link release}, once more for as long as control is away. Where it stays away nothing stands in the way if nothing is attached: to end the
 * rest under what is mounted would cut off what was not synced. Throws RELEASE_FAILED then, but for `force`, and CONTROL_SILENT.
 */
export async function releaseAttached(
  context: Context,
  wish: DownWish = {},
): Promise<readonly string[]> {
  const { installation } = context;
  for (const deadline = performance.now() + CONTROL_AWAY_MS_MAX; ; await sleep(AWAY_LOOK_MS)) {
    try {
      return await release(context, wish);
    } catch (error) {
      const isSilent = error instanceof Refusal && error.code === 'CONTROL_SILENT';
      if (isSilent || isStalled(error)) throw error;
      if (!hasAttached(installation)) return [];
      if (performance.now() < deadline) continue;
      if (wish.force === true) return [];
      const problem = error instanceof Error ? error.message : String(error);
      throw new Refusal('RELEASE_FAILED', { dataDir: installation.directory, problem });
    }
  }
}

/** Whether there are block devices of volumes, mounted or not. */
function hasAttached({ runDirectory }: Installation): boolean {
  return new MadeLog(runDirectory).entries().some(({ kind }) => kind === 'loop' || kind === 'nbd');
}
