/** What is left here of an attachment that another node has taken over, or whose session was ended. */

import { readMounts } from '../../attacher/mount-table.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { forgetMount } from '../mounts.ts';
import type { ControlParts } from '../parts.ts';
import { runProgram } from '../run-program.ts';

/** Takes its block device away, so that whatever still uses that hears of it, and unmounts what is mounted of it as soon as it is let go. */
export async function clearOvertaken(parts: ControlParts, attachId: string): Promise<void> {
  const { attacher, made } = parts;
  const { devices } = await attacher.call('list', {});
  const found = (devices as readonly JsonObject[]).find((each) => each['attachId'] === attachId);
  if (found === undefined) return;
  const device = String(found['device']);
  await attacher.call('detach', { attachId, force: true });
  for (const { source, path } of readMounts()) {
    if (source !== device) continue;
    // Files that are open keep it; the kernel gives it up with the last of them.
    await runProgram('umount', '-l', path);
    await forgetMount(made, { path, device });
  }
}
