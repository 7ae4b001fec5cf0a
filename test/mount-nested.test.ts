/** Volumes that are mounted within each other's file systems, as the data and the log of a database: in whatever order their names are. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { readMounts } from '../src/attacher/mount-table.ts';
import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';

const rig = useCliRig();
const OUTER = path.join(rig.directory, 'srv');

/** Where each is mounted, with its outer one before it. */
const PLACES: readonly (readonly [name: string, at: string])[] = [
  ['m', OUTER],
  ['z', path.join(OUTER, 'wal')],
  ['a', path.join(OUTER, 'wal/archive')],
];

const mountOf = async (name: string): Promise<VolumeView['mount']> =>
  ((await rig.json('volume', 'inspect', name)) as unknown as VolumeView).mount;

async function areMounted(): Promise<void> {
  for (const [name, at] of PLACES) {
    assert.equal((await mountOf(name))?.state, 'mounted', name);
    assert.equal(fs.readFileSync(path.join(at, 'witness'), 'utf8'), name);
  }
}

test('they are released and mounted again in the order in which they lie', device, async () => {
  await rig.up();
  for (const [name, at] of PLACES) {
    await rig.json('volume', 'create', name, '--size', '64MiB');
    await rig.json('volume', 'mount', name, '--at', at);
    fs.writeFileSync(path.join(at, 'witness'), name, { flush: true });
  }
  const busy = await rig.run(['volume', 'unmount', 'm']);
  assert.match(busy.err, /Cannot unmount ".*\/srv": ".*" is mounted in ".*\/srv\/wal/);
  await areMounted();
  await rig.json('down');
  assert.deepEqual(fs.existsSync(OUTER) ? fs.readdirSync(OUTER) : [], []);
  await rig.json('up', '--detach');
  await areMounted();
});

test(
  'they come back after the death of what serves them',
  { ...device, timeout: 120_000 },
  async () => {
    const { processes } = (await rig.json('status')) as unknown as StatusView;
    process.kill(processes['attacher']?.pid ?? 0, 'SIGKILL');
    for (let tries = 0; tries < 100; tries++) {
      await sleep(500);
      const states = await Promise.all(PLACES.map(async ([name]) => (await mountOf(name))?.state));
      const seen = PLACES.every(([, at]) => fs.existsSync(path.join(at, 'witness')));
      if (seen && states.every((state) => state === 'mounted')) break;
    }
    await areMounted();
  },
);

test('one waits for that in which it lies', { ...device, timeout: 120_000 }, async () => {
  await rig.json('down');
  const inTheWay = path.join(OUTER, 'theirs');
  fs.mkdirSync(OUTER, { recursive: true });
  fs.writeFileSync(inTheWay, '');
  const up = await rig.run(['up', '--detach']);
  assert.match(up.err, /volume "m" is not mounted/);
  assert.match(up.err, /volume "z" is not mounted/);
  assert.deepEqual(fs.readdirSync(OUTER), ['theirs']);
  fs.rmSync(inTheWay);
  const early = await rig.run(['volume', 'mount', 'z']);
  assert.match(early.err, /volume "m" belongs at ".*\/srv" and is not mounted/);
  for (const [name] of PLACES) await rig.json('volume', 'mount', name);
  await areMounted();
});

test(
  'a mount that is asked for again by another name of its place is the same',
  device,
  async () => {
    const link = path.join(rig.directory, 'link');
    fs.symlinkSync(OUTER, link);
    for (const at of [link, `${OUTER}/`, `${rig.directory}//srv`, `${OUTER}/wal/..`]) {
      const { mount } = (await rig.json(
        'volume',
        'mount',
        'm',
        '--at',
        at,
      )) as unknown as VolumeView;
      assert.equal(mount?.path, fs.realpathSync(OUTER));
    }
    const other = await rig.run(['volume', 'mount', 'm', '--at', `${link}/elsewhere`]);
    assert.match(other.err, /it is mounted with ext4 at ".*\/srv"/);
  },
);

test('no drive is put on a volume', device, async () => {
  const { attachment } = (await rig.json('volume', 'inspect', 'a')) as unknown as VolumeView;
  const inside = path.join(OUTER, 'wal/archive/drive.img');
  for (const at of [inside, attachment?.device ?? '']) {
    const refused = await rig.run(['drive', 'add', 'own', '--path', at, '--size', '32MiB']);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /lies on a volume of Holdfast \(\/dev\//);
  }
  assert.ok(!fs.existsSync(inside));
});

test(
  'of two that are mounted at one place at once one is, and nothing is left of the other',
  device,
  async () => {
    const at = path.join(rig.directory, 'same');
    for (const name of ['one', 'other'])
      await rig.json('volume', 'create', name, '--size', '64MiB');
    const ended = await Promise.all(
      ['one', 'other'].map((name) =>
        rig.run(['volume', 'mount', name, '--at', at, '--output', 'json']),
      ),
    );
    assert.deepEqual(new Set(ended.map(({ code }) => code)), new Set([0, 1]));
    assert.match(ended.map(({ err }) => err).join(''), /"MOUNT_PATH_USED"/);
    assert.equal(readMounts().filter((each) => each.path === at).length, 1);
    const states = await Promise.all(
      ['one', 'other'].map(async (name) => (await mountOf(name))?.state),
    );
    assert.deepEqual(new Set(states), new Set(['mounted', undefined]));
  },
);

test(
  'a mount that cannot be made leaves no folder, and one that something covers stays on record',
  device,
  async () => {
    const folder = path.join(rig.directory, 'new');
    await rig.run(['volume', 'mount', 'one', '--at', path.join(folder, 'b'.repeat(256))]);
    assert.ok(!fs.existsSync(folder));
    execFileSync('mount', ['-t', 'tmpfs', 'none', path.join(OUTER, 'wal/archive')]);
    const covered = await rig.run(['volume', 'unmount', 'a']);
    execFileSync('umount', [path.join(OUTER, 'wal/archive')]);
    assert.match(covered.err, /"none" \(tmpfs\) is mounted over it/);
    await rig.json('volume', 'unmount', 'a');
    assert.equal(await mountOf('a'), null);
  },
);
