/** Control is killed at each step of its use cases: what was asked comes true or is undone, nothing leaks, a retry has one result. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { setImmediate } from 'node:timers/promises';
import { after, before, test } from 'node:test';

import type { OperationView } from '../src/control/operation-schemas.ts';
import type { RemovedVolumeView, VolumeView } from '../src/control/schemas.ts';
import { until, whyNot } from './rigs/attach-rig.ts';
import { clean, useCases } from './rigs/control-cases.ts';
import { killAtEachStep, startRig } from './rigs/control-kills.ts';
import { findLeaks } from './rigs/control-leaks.ts';
import { type ControlRig, processesOf } from './rigs/control-rig.ts';

const withoutDevices = whyNot('mkfs.ext4', 'mkfs.xfs');
/** Of the steps every so many: `npm run chaos:control -- --all` takes each. Devices and file systems take their time. */
const STRIDE = 5;
const DEVICE_STRIDE = 16;
let rig: ControlRig;

before(async () => {
  rig = await startRig();
});

after(async () => {
  await rig.close();
});

test('a removal with a key is carried out once, whenever control is killed in it', async () => {
  let kills = 0;
  for (let step = 1; ; step++) {
    const key = `removal-${step}`;
    const remove = (): Promise<RemovedVolumeView> => rig.api.delete('/v1/volumes/v?now=true', key);
    const create = (): Promise<unknown> =>
      rig.api.post('/v1/volumes', { name: 'v', sizeBytes: 2 ** 26 });
    await create();
    rig.killAt(step);
    const isUnharmed = await remove().then(
      ({ removed }) => removed,
      () => false,
    );
    rig.killAt(0);
    if (!isUnharmed) {
      kills += 1;
      await rig.kill('control');
      await rig.startControl();
    }
    assert.deepEqual(
      await remove(),
      { removed: true, trash: null },
      `asked again after step ${step}`,
    );
    await create();
    assert.deepEqual(
      await remove(),
      { removed: true, trash: null },
      `asked once more after step ${step}`,
    );
    const volumes = await rig.api.get<VolumeView[]>('/v1/volumes');
    assert.deepEqual(
      volumes.map(({ name }) => name),
      ['v'],
      'another volume of that name stays',
    );
    await rig.api.delete('/v1/volumes/v?now=true');
    if (isUnharmed) break;
  }
  assert.ok(kills >= 3, `${kills} kills`);
});

/** Large enough for a mkfs.ext4 that can be caught at work. */
const CAUGHT_BYTES = 2 ** 34;

test(
  'a mkfs that outlives its control is waited for',
  { skip: withoutDevices ?? false },
  async () => {
    const { api } = rig;
    const volume = async (): Promise<VolumeView | undefined> =>
      (await api.get<VolumeView[]>('/v1/volumes').catch(() => []))[0];
    await api.patch('/v1/settings', { overprovisionPercent: null });
    await api.post('/v1/volumes', { name: 'v', sizeBytes: CAUGHT_BYTES });
    const mount = api.put('/v1/volumes/v/mount', { fs: 'ext4' }).catch(() => undefined);
    const pid = await mkfsAtWork();
    process.kill(pid, 'SIGSTOP');
    try {
      await rig.kill('control');
      await mount;
      rig.start('control');
      const phase = `waiting for mkfs.ext4 (process ${pid}), which an earlier control started`;
      await until(async () => {
        const [newest] = await api
          .get<OperationView[]>('/v1/operations?state=running')
          .catch(() => []);
        return newest?.progress?.phase === phase;
      });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await until(async () => (await volume())?.mount?.state === 'mounted');
    await clean(rig);
    assert.deepEqual(await findLeaks(rig), []);
  },
);

/** The mkfs.ext4 that this test's control has at work. */
async function mkfsAtWork(): Promise<number> {
  const control = processesOf(rig.directory).find(({ words }) => words.includes('control'));
  for (;;) {
    // pgrep has a status of its own for none.
    const { stdout } = spawnSync('pgrep', ['-x', '-P', `${control?.pid}`, 'mkfs.ext4']);
    if (stdout.length > 0) return Number(stdout);
    await setImmediate();
  }
}

for (const useCase of useCases('ext4')) {
  const skip = useCase.needsDevice ? withoutDevices : undefined;
  const options = skip === undefined ? { timeout: 60_000 } : { skip };
  test(`control killed at each step of ${useCase.name}`, options, async () => {
    try {
      await killAtEachStep(rig, useCase, { stride: useCase.needsDevice ? DEVICE_STRIDE : STRIDE });
    } catch (error) {
      process.stderr.write(rig.log('control').split('\n').slice(-20).join('\n'));
      throw error;
    }
  });
}
