/** Control is killed at each step of its use cases: what was asked comes true or is undone, nothing leaks, a retry has one result. */

import process from 'node:process';
import { after, before, test } from 'node:test';

import { whyNot } from './rigs/attach-rig.ts';
import { useCases } from './rigs/control-cases.ts';
import { killAtEachStep, startRig } from './rigs/control-kills.ts';
import type { ControlRig } from './rigs/control-rig.ts';

const withoutDevices = whyNot('mkfs.ext4', 'mkfs.xfs');
/** Devices and file systems take their time; `npm run chaos:control -- --all` takes every step. */
const DEVICE_STRIDE = 3;
let rig: ControlRig;

before(async () => {
  rig = await startRig();
});

after(async () => {
  await rig.close();
});

for (const useCase of useCases('ext4')) {
  const skip = useCase.needsDevice ? withoutDevices : undefined;
  const options = skip === undefined ? { timeout: 60_000 } : { skip };
  test(`control killed at each step of ${useCase.name}`, options, async () => {
    try {
      await killAtEachStep(rig, useCase, { stride: useCase.needsDevice ? DEVICE_STRIDE : 1 });
    } catch (error) {
      process.stderr.write(rig.log('control').split('\n').slice(-20).join('\n'));
      throw error;
    }
  });
}
