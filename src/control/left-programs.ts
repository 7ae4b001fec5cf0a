/**
 * Programs on block devices (mkfs, e2fsck, resize2fs) outlive a control that dies. They are let come to their end, since one that is
 * killed may leave half of its work and two of them destroy each other's.
 */

import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { identify, isAlive } from '../attacher/process-identity.ts';

/** In the environment of each program that control starts, by which it is known later. */
export const PROGRAM_MARK = { HOLDFAST_PROGRAM: '1' } as const;
const MARK_WORD = `HOLDFAST_PROGRAM=${PROGRAM_MARK.HOLDFAST_PROGRAM}`;
const LOOK_MS = 50;

/**
 * Waits until no program of an earlier control works on `device`. `onWait` hears of each that is waited for, as "mkfs.ext4 (process
 * 123)". Whoever calls this has no program of its own on the device.
 */
export async function waitForLeftPrograms(
  device: string,
  onWait: (program: string) => void,
): Promise<void> {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const identity = identify(Number(pid));
    const [program, ...values] = wordsOf(pid, 'cmdline');
    if (identity === undefined || !values.includes(device)) continue;
    if (!wordsOf(pid, 'environ').includes(MARK_WORD)) continue;
    onWait(`${program} (process ${pid})`);
    while (isAlive(identity)) await sleep(LOOK_MS);
  }
}

/** Empty for a process that has ended, or that is not ours to look at. */
function wordsOf(pid: string, file: 'cmdline' | 'environ'): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
      .split('\0')
      .filter((word) => word !== '');
  } catch {
    return [];
  }
}
