/** What a mount must never destroy: data without a known file system, a file system that cannot be read, whatever is there when it is refused. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import type { DriveView } from '../src/control/drive-schemas.ts';
import type { VolumeView } from '../src/control/schemas.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';
import { PluginClient } from './rigs/plugin-client.ts';

const MIB = 2 ** 20;
const BLOCK_BYTES = 4096;
const rig = useCliRig();

const inspect = async (name: string): Promise<VolumeView> =>
  (await rig.json('volume', 'inspect', name)) as unknown as VolumeView;

async function mount(name: string, ...options: readonly string[]): Promise<string> {
  const view = (await rig.json('volume', 'mount', name, ...options)) as unknown as VolumeView;
  return view.mount?.path ?? '';
}

/** Mounts and must be refused with `code`. */
async function refused(code: string, name: string, ...options: readonly string[]): Promise<void> {
  const ended = await rig.run(['volume', 'mount', name, ...options, '--output', 'json']);
  assert.equal(ended.code, 1, ended.out);
  assert.match(ended.err, new RegExp(code));
}

function run(program: string, ...words: string[]): void {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  // 1 of e2fsck: errors were corrected.
  assert.ok(status === 0 || (program === 'e2fsck' && status === 1), stdout + stderr);
}

async function attached(name: string): Promise<string> {
  return String((await rig.json('volume', 'attach', name))['device']);
}

/** Flips a byte in every block of the drive that holds `block`, and tells that there was one. */
function rot(drive: string, block: Buffer): void {
  const image = fs.readFileSync(drive);
  const fd = fs.openSync(drive, 'r+');
  let count = 0;
  for (let at = 0; at < image.length; at += BLOCK_BYTES) {
    if (!image.subarray(at, at + BLOCK_BYTES).equals(block)) continue;
    fs.writeSync(fd, Buffer.from([image[at + 2000]! ^ 1]), 0, 1, at + 2000);
    count++;
  }
  fs.closeSync(fd);
  assert.ok(count > 0);
}

function firstBlock(from: string): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const fd = fs.openSync(from, 'r');
  fs.readSync(fd, block, 0, BLOCK_BYTES, 0);
  fs.closeSync(fd);
  return block;
}

test('data without a known file system', { ...device, timeout: 60_000 }, async () => {
  await rig.up();
  await rig.json('volume', 'create', 'raw', '--size', '64MiB');
  const data = randomBytes(2 * MIB);
  fs.writeFileSync(await attached('raw'), data, { flush: true });
  await rig.json('volume', 'detach', 'raw');
  await refused('MOUNT_NOT_BLANK', 'raw');
  const at = await attached('raw');
  assert.deepEqual(fs.readFileSync(at).subarray(0, data.length), data);
  await rig.json('volume', 'detach', 'raw');
  const unasked = await rig.run(['volume', 'mount', 'raw', '--force', '--output', 'json']);
  assert.match(unasked.err, /CONFIRMATION_MISSING/);
  await mount('raw', '--force', '--yes');
  await rig.json('volume', 'unmount', 'raw');
});

test('a refused mount changes nothing', { ...device, timeout: 60_000 }, async () => {
  const full = path.join(rig.directory, 'full');
  fs.mkdirSync(full);
  fs.writeFileSync(path.join(full, 'theirs'), '');
  await rig.json('volume', 'create', 'kept', '--size', '64MiB');
  const before = await inspect('kept');
  for (const at of [full, '/proc/x/y', path.join(full, 'theirs'), `${full}/${'n'.repeat(300)}`]) {
    await refused('MOUNT_PATH_USED', 'kept', '--at', at);
  }
  assert.deepEqual(await inspect('kept'), before);
  assert.deepEqual(fs.readdirSync(full), ['theirs']);

  const witness = path.join(await mount('kept', '--fs', 'ext4'), 'witness');
  fs.writeFileSync(witness, 'kept', { flush: true });
  await rig.json('volume', 'unmount', 'kept');
  const { lastAttachedAt } = await inspect('kept');
  await refused('MOUNT_PATH_USED', 'kept', '--fs', 'ext4', '--force', '--yes', '--at', full);
  await refused('MOUNT_FOREIGN', 'kept', '--fs', 'xfs');
  const after = await inspect('kept');
  assert.deepEqual(
    [after.attachment, after.mount, after.lastAttachedAt],
    [null, null, lastAttachedAt],
  );
  await mount('kept');
  assert.equal(fs.readFileSync(witness, 'utf8'), 'kept');
  await rig.json('volume', 'unmount', 'kept');
});

test('a file system whose first block is rotten', { ...device, timeout: 120_000 }, async () => {
  await rig.json('docker', 'enable');
  await rig.json('volume', 'create', 'v1', '--size', '256MiB');
  const precious = path.join(await mount('v1'), 'precious');
  const data = randomBytes(4 * MIB);
  fs.writeFileSync(precious, data, { flush: true });
  await rig.json('volume', 'unmount', 'v1');
  const block = firstBlock(await attached('v1'));
  await rig.json('volume', 'detach', 'v1');
  const [drive] = (await rig.json('drive', 'ls')) as unknown as DriveView[];
  await rig.json('down');
  rot(drive?.path ?? '', block);

  await rig.json('up', '--detach');
  await refused('MOUNT_UNREADABLE', 'v1');
  const plugin = new PluginClient(path.join(rig.pluginDirectory, 'holdfast.sock'));
  await assert.rejects(plugin.call('Mount', { Name: 'v1', ID: '1' }), /cannot be read/);

  // docs/attach.md, "Repair".
  const at = await attached('v1');
  run('dd', 'if=/dev/zero', `of=${at}`, 'bs=4096', 'count=1', 'oflag=direct');
  run('e2fsck', '-y', '-B', '4096', '-b', '32768', at);
  await mount('v1');
  assert.deepEqual(fs.readFileSync(precious), data);
  await rig.json('volume', 'unmount', 'v1');
});

test(
  'what is mounted carries no devices and no set-user-ids, and ends writes at an error',
  device,
  async () => {
    await rig.json('volume', 'create', 'safe', '--size', '64MiB');
    const at = await mount('safe', '--fs', 'ext4');
    const line = fs
      .readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((each) => each.split(' ')[4] === at);
    const options = (line?.split(' ')[5] ?? '').split(',');
    for (const option of ['nodev', 'nosuid', 'noatime']) assert.ok(options.includes(option), line);
    const [source = '', superOptions = ''] = (line?.split(' - ')[1] ?? '').split(' ').slice(1);
    assert.ok(superOptions.split(',').includes('discard'), line);
    const { stdout } = spawnSync('dumpe2fs', ['-h', source], { encoding: 'utf8' });
    assert.match(stdout, /^Errors behavior: +Remount read-only$/m);
    await rig.json('volume', 'unmount', 'safe');
  },
);
