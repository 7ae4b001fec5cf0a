/** Space: the trash, what a drive's volumes may come to together, alerts of full drives, volumes that grow by themselves, trims. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';

import type { EventView } from '../src/control/event-schemas.ts';
import type { TrashedView, VolumeView } from '../src/control/schemas.ts';
import { ApiClient } from '../src/cli/api-client.ts';
import { installationAt } from '../src/control/installation.ts';
import { until, whyNot } from './rigs/attach-rig.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';
import { hasSysResource } from './rigs/grown-size.ts';

const MIB = 2 ** 20;
const rig = useCliRig();
let api: ApiClient;

before(async () => {
  await sweepEarlierTests();
  await rig.json('up', '--detach', '--sparse', '--drive-size', '3GiB');
  api = new ApiClient([installationAt(rig.data)]);
});

async function refused(words: readonly string[], says: RegExp): Promise<void> {
  const ended = await rig.run(words);
  assert.equal(ended.code, 1, ended.out);
  assert.match(ended.err, says);
}

const viewOf = (name: string): Promise<VolumeView> => api.get<VolumeView>(`/v1/volumes/${name}`);

async function mounted(name: string, ...create: string[]): Promise<string> {
  const fsType = create.includes('xfs') ? 'xfs' : 'ext4';
  await rig.json('volume', 'create', name, ...create.filter((word) => word !== 'xfs'));
  const { mount } = await rig.json('volume', 'mount', name, '--fs', fsType);
  return (mount as { path: string }).path;
}

/** Writes so much that no file system keeps less, and syncs it. */
function write(file: string, mib: number): void {
  const descriptor = fs.openSync(file, 'w');
  const bytes = randomBytes(MIB);
  for (let written = 0; written < mib; written++) fs.writeSync(descriptor, bytes);
  fs.fsyncSync(descriptor);
  fs.closeSync(descriptor);
}

/** Whether one of the events, as "what: cause", is so. */
async function hasEvent(says: RegExp): Promise<boolean> {
  const events = await api.get<EventView[]>('/v1/events');
  return events.some(({ what, cause }) => says.test(`${what}: ${cause}`));
}

test('a removed volume comes back as it was, under its own or another name', device, async () => {
  const at = await mounted('t', '--size', '64MiB', '--tenant', 'acme');
  fs.writeFileSync(path.join(at, 'witness'), 'was here');
  await rig.json('volume', 'unmount', 't');
  const removed = await rig.run(['volume', 'rm', 't', '--yes']);
  assert.match(removed.out, /is in the trash for 2[34] h: holdfast trash restore t/);
  await refused(['volume', 'inspect', 't'], /There is no volume "t"/);
  await refused(['drive', 'rm', 'default', '--yes'], /holds volume "t" \(in the trash\)\n.*trash/);

  await rig.json('volume', 'create', 't', '--size', '4MiB');
  await refused(['trash', 'restore', 't'], /another one of that name\n.*--as OTHER/);
  const restored = await rig.json('trash', 'restore', 't', '--as', 't2');
  assert.deepEqual(restored['owner'], { tenant: 'acme', group: null });
  await rig.json('volume', 'mount', 't2', '--at', path.join(rig.directory, 'back'));
  const back = fs.readFileSync(path.join(rig.directory, 'back', 'witness'), 'utf8');
  assert.equal(back, 'was here');
  await rig.json('volume', 'unmount', 't2');
  await refused(['trash', 'restore', 't'], /no removed volume "t" in the trash/);
});

test('what is in the trash takes space until it is purged: asked for, or its time over', async () => {
  for (const name of ['p1', 'p2', 'p3']) {
    await rig.json('volume', 'create', name, '--size', '4MiB');
    await rig.json('volume', 'rm', name, '--yes');
  }
  await rig.json('trash', 'empty', 'p1', '--yes');
  const listed = await rig.run(['trash', 'ls']);
  assert.match(listed.out, /^NAME +RECLAIMABLE.*\np3 .*\np2 /);
  await rig.json('settings', 'set', 'trash-retention=1s');
  await rig.json('volume', 'create', 'p4', '--size', '4MiB');
  await rig.json('volume', 'rm', 'p4', '--yes');
  const names = async (): Promise<string> =>
    (await api.get<TrashedView[]>('/v1/trash')).map(({ name }) => name).join();
  await until(async () => (await names()) === 'p3,p2');
  await rig.json('settings', 'set', 'trash-retention=none');
  await rig.json('volume', 'create', 'p5', '--size', '4MiB');
  assert.match((await rig.run(['volume', 'rm', 'p5', '--yes'])).out, /"p5" is removed\n/);
  assert.deepEqual(await rig.json('trash', 'empty', '--yes'), { purged: 2 });
  assert.equal(await names(), '');
  await rig.json('settings', 'set', 'trash-retention=36h');
  assert.match((await rig.run(['settings', 'show'])).out, /trash-retention +36h\n/);
});

test('the volumes of a drive come to no more together than the settings allow', async () => {
  await rig.json('settings', 'set', 'overprovision=200%');
  const wish = ['volume', 'create', 'wide', '--size'];
  await refused([...wish, '7GiB'], /Cannot give volume "wide" 7 GiB: .*200 % of its 3 GiB\n.*set/);
  await rig.json(...wish, '5GiB');
  await refused(
    ['volume', 'resize', 'wide', '--size', '7GiB'],
    /would have 7(\.\d+)? GiB together/,
  );
  await rig.json('settings', 'set', 'overprovision=none');
  await rig.json('volume', 'resize', 'wide', '--size', '7GiB');
  await rig.json('volume', 'rm', 'wide', '--now', '--yes');
  for (const words of ['overprovision=much', 'colour=red', 'drive-alerts=90,80']) {
    assert.equal((await rig.run(['settings', 'set', words])).code, 2, words);
  }
});

test('a deleted file of 1 GiB gives its space back, and so does a trim', device, async () => {
  const at = await mounted('freed', '--size', '1500MiB');
  const taken = async (): Promise<number> => (await viewOf('freed')).allocatedBytes ?? 0;
  write(path.join(at, 'large'), 1024);
  assert.ok((await taken()) >= 1024 * MIB);
  fs.rmSync(path.join(at, 'large'));
  // ext4 discards what was freed when its journal commits, every 5 s.
  await until(async () => (await taken()) < 64 * MIB);
  assert.match((await rig.run(['volume', 'trim', 'freed'])).out, /is trimmed: .* given back/);
  await rig.json('volume', 'unmount', 'freed');
  await refused(['volume', 'trim', 'freed'], /is not mounted\nMount it first/);
  await rig.json('volume', 'rm', 'freed', '--now', '--yes');
});

const xfs = whyNot('mkfs.xfs');
test(
  'a volume grows with its file system while it fills, up to its ceiling, and tells',
  xfs === undefined ? {} : { skip: xfs },
  async () => {
    const policy = ['--step', '100MiB', '--ceiling', '420MiB'];
    const at = await mounted('grows', 'xfs', '--size', '320MiB', ...policy);
    write(path.join(at, 'a'), 230);
    await until(async () => (await viewOf('grows')).sizeBytes === 420 * MIB);
    assert.ok(
      await hasEvent(
        /Volume "grows" grew from 320 MiB to 420 MiB of at most 420 MiB: it was 9\d % full/,
      ),
    );
    write(path.join(at, 'b'), 95);
    await until(() => hasEvent(/"grows" is nearly full and does not grow: .* ceiling of 420 MiB/));
    await rig.json('volume', 'auto-grow', 'grows', '--off');
    assert.equal((await viewOf('grows')).autoGrow, null);
    await rig.json('volume', 'unmount', 'grows');
    await rig.json('volume', 'rm', 'grows', '--now', '--yes');
  },
);

test(
  'an ext4 that may not grow while it is mounted says so, once',
  hasSysResource() ? { skip: 'this process has CAP_SYS_RESOURCE' } : device,
  async () => {
    const policy = ['--step', '16MiB', '--ceiling', '256MiB'];
    const at = await mounted('later', '--size', '64MiB', ...policy);
    write(path.join(at, 'a'), 52);
    await until(() => hasEvent(/"later" is nearly full and does not grow: .*at the next mount/));
    assert.equal((await viewOf('later')).sizeBytes, 80 * MIB, 'it grew once, not at every look');
    await rig.json('volume', 'unmount', 'later');
    await rig.json('volume', 'rm', 'later', '--now', '--yes');
  },
);

test('a drive that fills up is told, with what fills it', device, async () => {
  await rig.json('settings', 'set', 'drive-alerts=20,70');
  await rig.json('drive', 'add', 'small', '--sparse', '--size', '512MiB');
  const at = await mounted('filler', '--size', '400MiB', '--drive', 'small');
  write(path.join(at, 'a'), 150);
  await until(() =>
    hasEvent(/^Drive "small" is \d\d % full, .* free: its largest volumes are "filler" 1\d\d MiB$/),
  );
  await rig.json('volume', 'unmount', 'filler');
  await rig.json('volume', 'rm', 'filler', '--now', '--yes');
  await rig.json('drive', 'rm', 'small', '--yes');
});
