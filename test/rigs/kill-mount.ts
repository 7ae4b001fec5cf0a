/**
 * The kill rig's mount path: `fio --verify` on files of a mounted file system, with O_DIRECT, so that what fio saw
 * acknowledged is in nobody's cache; kills at random moments. A restart may stall fio, never fail it. Afterwards fsck, and
 * fio verifies once more after a new mount. Beside fio a small write waits for the disk again and again: how long none
 * returns is the stall of a kill.
 */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from '../../bench/lib/installation.ts';
import { run } from '../../bench/lib/processes.ts';
import { CommitClock } from '../../src/tour/commit-clock.ts';
import { EngineKiller } from './engine-killer.ts';
import type { KillOutcome, KillPlan } from './kill-plan.ts';
import { killUnderLoad } from './kill-stalls.ts';

const VOLUME = 'kill-mount';
const VOLUME_BYTES = 512 * 2 ** 20;
const FILE_BYTES = 32 * 2 ** 20;
const PROBE_BYTES = 4096;
const PROBE_PAUSE_MS = 5;

export async function killUnderMount(
  installation: Installation,
  plan: KillPlan,
  fileSystem: 'ext4' | 'xfs' = 'ext4',
): Promise<KillOutcome> {
  const volume = `${VOLUME}-${fileSystem}`;
  await installation.createVolume(volume, VOLUME_BYTES);
  let mountPoint = await installation.mount(volume, fileSystem);
  const killer = await EngineKiller.of(installation);
  const lost: string[] = [];
  let passes = 0;

  let killing = true;
  const isRunning = (): boolean => killing && lost.length === 0;
  const load = (async () => {
    while (isRunning()) {
      passes++;
      lost.push(...(await verifyPass(mountPoint, { seed: plan.seed + passes, onlyVerify: false })));
    }
  })();
  const clock = new CommitClock(() => performance.now());
  const probe = probeWrites(join(mountPoint, 'probe'), clock, isRunning);
  let recoveryMs: number[];
  try {
    const running = Promise.race([load, probe]);
    recoveryMs = await killUnderLoad({ killer, clock, running, unit: 'writes' }, plan);
  } finally {
    killing = false;
    await Promise.allSettled([load, probe]);
  }
  await Promise.all([load, probe]);

  await installation.unmount(volume);
  // `mount` runs fsck first; what it cannot repair by itself, it refuses.
  mountPoint = await installation.mount(volume, fileSystem);
  lost.push(...(await verifyPass(mountPoint, { seed: plan.seed + passes, onlyVerify: true })));
  await installation.unmount(volume);
  return {
    lost,
    recoveryMs,
    facts: [
      `${fileSystem}: ${passes} passes of fio --verify under ${killer.killCount} kills`,
      `longest time without a write around a kill: ${Math.round(Math.max(...recoveryMs))} ms`,
    ],
  };
}

/** Writes one block again and again, each time as far as the disk, and notes each write that returned. */
async function probeWrites(
  path: string,
  clock: CommitClock,
  isRunning: () => boolean,
): Promise<void> {
  const file = await open(path, constants.O_CREAT | constants.O_WRONLY | constants.O_DSYNC, 0o600);
  try {
    const block = Buffer.alloc(PROBE_BYTES, 0x70);
    while (isRunning()) {
      await file.write(block, 0, PROBE_BYTES, 0);
      clock.note();
      await sleep(PROBE_PAUSE_MS);
    }
  } finally {
    await file.close();
  }
}

/** Writes all of two files in random order and verifies them, or only verifies. Returns fio's complaints. */
async function verifyPass(
  mountPoint: string,
  options: { readonly seed: number; readonly onlyVerify: boolean },
): Promise<string[]> {
  const result = await run('fio', [
    '--name=kill',
    `--directory=${mountPoint}`,
    '--filename_format=kill.$jobnum',
    '--numjobs=2',
    '--ioengine=libaio',
    '--direct=1',
    '--rw=randwrite',
    '--bsrange=4k-64k',
    '--iodepth=8',
    `--size=${FILE_BYTES}`,
    // Another seed for each pass: with the same bytes, a lost overwrite would not show.
    `--randseed=${options.seed}`,
    '--verify=crc32c',
    '--verify_fatal=1',
    '--verify_dump=0',
    // It would write its state files into the folder that the rig was started in.
    '--verify_state_save=0',
    '--fsync=64',
    ...(options.onlyVerify ? ['--verify_only=1'] : ['--do_verify=1']),
  ]);
  return result.exitCode === 0
    ? []
    : [`fio ended with ${result.exitCode}: ${result.stderr.slice(-1500)}`];
}
