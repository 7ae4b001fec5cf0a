/** Control under many clients at once, and under an engine that is there and says nothing. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';

import { ApiProblem } from '../src/cli/api-client.ts';
import type { DriveView } from '../src/control/drive-schemas.ts';
import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { DRIVE_BYTES } from './rigs/drive-cases.ts';
import { startRig } from './rigs/control-kills.ts';
import { findLeaks } from './rigs/control-leaks.ts';
import { type ControlRig, processesOf } from './rigs/control-rig.ts';

const CLIENTS = 16;
/** More than two answers of the engine, which tells of 128 at once. */
const VOLUMES = 280;
const SIZE_BYTES = 4 * 2 ** 20;
let rig: ControlRig;

before(async () => {
  rig = await startRig();
});

after(() => rig.close());

/** Runs `task` with 0 to `count` - 1, by as many clients at once as there are. */
async function byClients(count: number, task: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

const create = (name: string, drive?: string): Promise<VolumeView> =>
  rig.api.post<VolumeView>('/v1/volumes', {
    name,
    sizeBytes: SIZE_BYTES,
    ...(drive === undefined ? {} : { drive }),
  });

/** The result, or the code of its refusal. */
const outcome = (request: Promise<unknown>): Promise<string> =>
  request.then(
    () => 'done',
    (error: unknown) => {
      if (error instanceof ApiProblem) return error.problem.code;
      throw error;
    },
  );

test('volumes created and removed by many clients at once are all there, then all gone', async () => {
  await byClients(VOLUMES, (index) => create(`v${index}`));
  assert.equal((await rig.api.get<VolumeView[]>('/v1/volumes')).length, VOLUMES);
  assert.deepEqual(await findLeaks(rig), []);
  await byClients(VOLUMES, (index) => rig.api.delete(`/v1/volumes/v${index}?now=true`));
  assert.deepEqual(await rig.api.get<VolumeView[]>('/v1/volumes'), []);
  assert.deepEqual(await findLeaks(rig), []);
});

test('one create asked for by many clients at once is one volume', async () => {
  const volumes = await Promise.all(Array.from({ length: CLIENTS }, () => create('same')));
  assert.equal(new Set(volumes.map(({ id }) => id)).size, 1);
  await rig.api.delete('/v1/volumes/same?now=true');
  assert.deepEqual(await findLeaks(rig), []);
});

test('a drive is removed, or volumes come onto it, never both', async () => {
  for (let round = 0; round < 4; round++) {
    await rig.api.post('/v1/drives', { name: 'other', sizeBytes: DRIVE_BYTES, sparse: true });
    const creates = Array.from({ length: CLIENTS }, (_, index) =>
      outcome(create(`on-other-${index}`, 'other')),
    );
    // In the first rounds the removal comes first, later in between.
    for (let turn = 0; turn < round; turn++) await rig.api.get<StatusView>('/v1/status');
    const removal = await outcome(rig.api.delete('/v1/drives/other'));
    const created = await Promise.all(creates);
    const drives = await rig.api.get<DriveView[]>('/v1/drives');
    const isThere = drives.some(({ name }) => name === 'other');
    assert.equal(removal, isThere ? 'DRIVE_IN_USE' : 'done');
    const allowed = isThere ? ['done'] : ['DRIVE_NOT_READY', 'DRIVE_NOT_FOUND'];
    for (const each of created) assert.ok(allowed.includes(each), `${each} after ${removal}`);
    assert.deepEqual(await findLeaks(rig), []);
    const volumes = await rig.api.get<VolumeView[]>('/v1/volumes');
    for (const { name } of volumes) await rig.api.delete(`/v1/volumes/${name}?now=true`);
    await rig.api.delete('/v1/drives/other');
  }
});

test('an engine that is stuck is named as away, and whoever asks gets an answer', async () => {
  const stuck = processesOf(rig.directory).find(({ words }) => words.includes('engine'));
  assert.ok(stuck !== undefined);
  await create('there');
  execFileSync('kill', ['-STOP', String(stuck.pid)]);
  try {
    const began = performance.now();
    const status = await rig.api.get<StatusView>('/v1/status');
    assert.equal(status.processes['engine']?.state, 'away');
    assert.equal(status.processes['attacher']?.state, 'running');
    const [volume] = await rig.api.get<VolumeView[]>('/v1/volumes');
    assert.equal(volume?.state, 'unknown');
    assert.ok(performance.now() - began < 10_000, 'both within ten seconds');
  } finally {
    execFileSync('kill', ['-CONT', String(stuck.pid)]);
  }
  const [volume] = await rig.api.get<VolumeView[]>('/v1/volumes');
  assert.equal(volume?.state, 'idle');
});
