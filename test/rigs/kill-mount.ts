/**
 * The kill rig's mount path: `fio --verify` on files of a mounted file system, with O_DIRECT, so that what fio saw
 * acknowledged is in nobody's cache; kills at random moments. A restart may stall fio, never fail it. Afterwards fsck, and
 * fio verifies once more after a new mount.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from '../../bench/lib/installation.ts';
import { run } from '../../bench/lib/processes.ts';
import { Prng } from '../../src/lib/prng.ts';
import { EngineKiller } from './engine-killer.ts';
import type { KillOutcome, KillPlan } from './kill-plan.ts';

const VOLUME = 'kill-mount';
const VOLUME_BYTES = 512 * 2 ** 20;
const FILE_BYTES = 32 * 2 ** 20;

export async function killUnderMount(
  installation: Installation,
  plan: KillPlan,
  fileSystem: 'ext4' | 'xfs' = 'ext4',
): Promise<KillOutcome> {
  const volume = `${VOLUME}-${fileSystem}`;
  await installation.createVolume(volume, VOLUME_BYTES);
  let mountPoint = await installation.mount(volume, fileSystem);
  const killer = await EngineKiller.of(installation);
  const random = new Prng(plan.seed);
  const lost: string[] = [];
  let passes = 0;

  let killing = true;
  const load = (async () => {
    while (killing && lost.length === 0) {
      passes++;
      lost.push(...(await verifyPass(mountPoint, { seed: plan.seed + passes, onlyVerify: false })));
    }
  })();
  for (let kill = 0; kill < plan.killCount && lost.length === 0; kill++) {
    await sleep(1 + random.below(plan.uptimeMsMax));
    const pid = await killer.kill();
    plan.onProgress(`kill ${kill + 1}/${plan.killCount}: engine ${pid}, fio pass ${passes}`);
  }
  killing = false;
  await load;

  await installation.unmount(volume);
  // `mount` runs fsck first; what it cannot repair by itself, it refuses.
  mountPoint = await installation.mount(volume, fileSystem);
  lost.push(...(await verifyPass(mountPoint, { seed: plan.seed + passes, onlyVerify: true })));
  await installation.unmount(volume);
  return {
    lost,
    recoveryMs: [],
    facts: [`${fileSystem}: ${passes} passes of fio --verify under ${killer.killCount} kills`],
  };
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
