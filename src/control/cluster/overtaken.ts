/** What is left here of an attachment that another node has taken over, or whose session was ended. */

import { setTimeout as sleep } from 'node:timers/promises';

import { mountAt, readMounts } from '../../attacher/mount-table.ts';
import { Fault, Refusal } from '../../model/errors.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { forgetMount } from '../mounts.ts';
import { isPassing } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import { runProgram } from '../run-program.ts';

/** umount(8) fails where the machine has no room for a process, or somebody has mounted something over it. */
const UNMOUNT_TRIES = 20;
const RETRY_MS = 250;

/**
 * Takes its block device away, so that whatever still uses that hears of it, and unmounts what is mounted of it: files that are open keep it,
 * and the kernel gives it up with the last of them. Throws MOUNT_FAILED where that is not to be done in some seconds.
 */
export async function clearOvertaken(parts: ControlParts, attachId: string): Promise<void> {
  const { attacher, made } = parts;
  const { devices } = await attacher.call('list', {});
  const found = (devices as readonly JsonObject[]).find((each) => each['attachId'] === attachId);
  // It has none to name while it is made, which may stand still.
  await attacher.call('detach', { attachId, force: true });
  if (found === undefined) return;
  const device = String(found['device']);
  const paths = mountsFrom(device);
  await unmountAll(device);
  for (const path of paths) await forgetMount(made, { path, device });
}

/** By source: a device that is gone has no number any more. */
const mountsFrom = (device: string): readonly string[] =>
  readMounts().flatMap(({ source, path }) => (source === device ? [path] : []));

async function unmountAll(device: string): Promise<void> {
  let problem = '';
  for (let tries = 0; tries < UNMOUNT_TRIES; tries++) {
    if (tries > 0) await sleep(RETRY_MS);
    for (const path of mountsFrom(device)) {
      const top = mountAt(path)?.source;
      if (top === device) {
        const result = await runProgram('umount', '-l', path);
        problem =
          result.kind === 'missing' ? 'umount is not installed' : `umount: ${result.output}`;
      } else problem = `"${top}" is mounted over it at "${path}"`;
    }
    if (mountsFrom(device).length === 0) return;
  }
  throw new Fault('MOUNT_FAILED', { volume: device, problem });
}

/** The same of all that is there of attachments that are no more, and whose heads are gone: their engine, or this control, was away as they ended. */
export async function clearLeft(parts: ControlParts): Promise<void> {
  const { attacher, engine, records } = parts;
  // One that is away takes its devices with it, or has a successor.
  const { devices } = await attacher.call('list', {}).catch((error: unknown): JsonObject => {
    if (isPassing(error)) return { devices: [] };
    throw error;
  });
  for (const device of devices as readonly JsonObject[]) {
    const [attachId, uuid] = [String(device['attachId']), String(device['uuid'])];
    const volume = (await records.volumes()).find(({ id }) => id === uuid);
    if (volume?.attachment?.attachId === attachId) continue;
    // After a restore the records may not know of what goes on; the engine does, or the set.
    const served = await engine.call('volume.status', { uuid }).catch((error: unknown) => {
      if (error instanceof Refusal && error.code === 'VOLUME_NOT_FOUND') return undefined;
      throw error;
    });
    if (served?.['attachId'] === attachId) continue;
    const set = (await records.set(uuid))?.record;
    if (volume?.attachment === undefined && set?.attachment?.attachId === attachId) continue;
    await clearOvertaken(parts, attachId);
  }
}
