import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { until } from './attach-rig.ts';
import { device } from './cli-rig.ts';
import {
  ControlRig,
  RESTART_PAUSE_MS,
  TEST_MOUNT,
  processesOf,
  sweepEarlierTests,
} from './control-rig.ts';

/** No process has it: the kernel's numbers end at 2^22. */
const DEAD_PID = 2 ** 22 + 1;

test('what a killed test left mounted in memory is swept', device, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `hf-control-${DEAD_PID}-`));
  const at = path.join(directory, 'memory');
  fs.mkdirSync(at);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', TEST_MOUNT, at]);
  fs.writeFileSync(path.join(at, 'left'), '');
  await sweepEarlierTests();
  assert.equal(fs.existsSync(directory), false);
});

test('what ends by itself is started again, what the rig ended is not', async () => {
  const told: string[] = [];
  const rig = new ControlRig({ onEnd: (role, how) => told.push(`${role} ${how}`) });
  const pids = (): number[] => processesOf(rig.directory).map(({ pid }) => pid);
  try {
    rig.start('attacher');
    await until(() => pids().length === 1);
    const [first = 0] = pids();
    process.kill(first, 'SIGKILL');
    await until(() => pids().some((pid) => pid !== first));
    rig.start('engine');
    await rig.kill('engine');
    process.kill(pids()[0] ?? 0, 'SIGKILL');
    await until(() => told.length === 2);
    // Before it is started again.
    await rig.kill('attacher');
    await sleep(2 * RESTART_PAUSE_MS);
    const end = 'attacher ended with SIGKILL';
    assert.deepEqual([told, pids()], [[end, end], []]);
  } finally {
    await rig.close();
  }
});

test('a rig is closed once, whoever asks', async () => {
  const rig = new ControlRig();
  const closed = rig.close();
  assert.equal(rig.close(), closed);
  await closed;
  assert.equal(fs.existsSync(rig.directory), false);
});
