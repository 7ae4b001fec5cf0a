/** The attacher is killed in a call to the kernel that waits for its own answer: it ends nevertheless, and what was asked comes true. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';

/** ioctl(2) of x86-64 and of arm64, and the request that makes a loop device of a file. */
const IOCTL = process.arch === 'arm64' ? 29 : 16;
const LOOP_CONFIGURE = '0x4c0a';
const KILLS = 3;
/** It is not hit each time: the call takes a millisecond or two. */
const TRIES_MAX = 200;
const rig = useCliRig();

async function pidOfAttacher(): Promise<number> {
  const status = (await rig.json('status')) as unknown as StatusView;
  return status.processes['attacher']?.pid ?? 0;
}

/** Whether a thread of `pid` is in LOOP_CONFIGURE now. */
function isConfiguring(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).some((thread) => {
    try {
      const [call, , request] = readFileSync(`/proc/${pid}/task/${thread}/syscall`, 'utf8').split(
        ' ',
      );
      return call === String(IOCTL) && request === LOOP_CONFIGURE;
    } catch {
      return false;
    }
  });
}

/** Stops the attacher in LOOP_CONFIGURE and kills it there. False if it was not caught in it. */
async function killConfiguring(pid: number, attached: Promise<unknown>): Promise<boolean> {
  let isOver = false;
  void attached.finally(() => (isOver = true));
  while (!isOver) {
    for (let looks = 0; looks < 200; looks++) {
      if (!isConfiguring(pid)) continue;
      process.kill(pid, 'SIGSTOP');
      // Stopped for good: it answers nothing any more, and what it has not answered it never will.
      await sleep(20);
      const isCaught = isConfiguring(pid);
      process.kill(pid, isCaught ? 'SIGKILL' : 'SIGCONT');
      return isCaught;
    }
    await sleep(0);
  }
  return false;
}

test(
  'an attacher that is killed inside LOOP_CONFIGURE is replaced, and the volume is attached',
  { ...device, timeout: 200_000 },
  async () => {
    await rig.up();
    await rig.json('volume', 'create', 'v', '--size', '64MiB');
    let kills = 0;
    for (let tries = 0; kills < KILLS; tries++) {
      assert.ok(tries < TRIES_MAX, `${kills} kills in ${tries} tries`);
      const pid = await pidOfAttacher();
      const attached = rig.run(['volume', 'attach', 'v', '--output', 'json']);
      if (await killConfiguring(pid, attached)) kills += 1;
      await attached;
      await until(async () => {
        const view = (await rig.json('volume', 'inspect', 'v')) as unknown as VolumeView;
        return view.attachment?.state === 'attached' && view.attachment.device !== null;
      });
      await rig.json('volume', 'detach', 'v');
    }
  },
);
