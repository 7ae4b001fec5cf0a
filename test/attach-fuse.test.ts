/** The attacher on real /dev/fuse and loop devices, with a file system on top, while the NBD server dies and comes back. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import {
  checkFileSystem,
  ensureFileSystem,
  growFileSystem,
  growUnmounted,
  mountFileSystem,
  unmountFileSystem,
} from '../src/control/mounts.ts';
import type { FsType } from '../src/control/file-systems.ts';
import { mountAt, readMounts } from '../src/attacher/mount-table.ts';
import {
  AttachRig,
  hashOf,
  run,
  sweepEarlierRuns,
  until,
  whyNot,
  withRig,
} from './rigs/attach-rig.ts';
import { hasSysResource, sizeOfMounted } from './rigs/grown-size.ts';

const MIB = 2 ** 20;
const execute = promisify(execFile);
const skip = whyNot('fio', 'mkfs.ext4', 'mkfs.xfs');
const options = skip === undefined ? { timeout: 120_000 } : { skip };

before(async () => {
  if (skip === undefined) await sweepEarlierRuns();
});

const refused = (code: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code;

/** Kills the server `times` times, at moments up to `gapMs` apart, and starts it again after up to `downMs`. */
async function killServer(
  rig: AttachRig,
  plan: { readonly times: number; readonly gapMs: number; readonly downMs: number },
): Promise<void> {
  for (let i = 0; i < plan.times; i += 1) {
    await sleep(Math.random() * plan.gapMs);
    await rig.killServer();
    await sleep(Math.random() * plan.downMs);
    const known = await connectCount(rig);
    await rig.startServer();
    await until(async () => (await connectCount(rig)) > known);
  }
}

async function connectCount(rig: AttachRig): Promise<number> {
  const { devices } = await rig.call('list');
  return (devices as { connectCount: number }[])[0]!.connectCount;
}

test('attach is idempotent, lists what it has, and refuses what differs', options, async () => {
  await withRig(64 * MIB, async (rig) => {
    const device = await rig.attach();
    assert.equal(await rig.attach(), device);
    assert.equal(run('blockdev', '--getsize64', device).trim(), String(64 * MIB));
    assert.equal(run('blockdev', '--getss', device).trim(), '4096');
    const name = path.basename(device);
    assert.equal(fs.readFileSync(`/sys/block/${name}/loop/dio`, 'utf8').trim(), '1');
    const { devices } = await rig.call('list');
    assert.deepEqual(
      (devices as { device: string; state: string; kind: string }[]).map((d) => [
        d.device,
        d.state,
        d.kind,
      ]),
      [[device, 'serving', 'fuse-loop']],
    );
    const { attachId, sizeBytes } = rig;
    const uuid = '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b12';
    await assert.rejects(
      rig.call('attach', { attachId, uuid, socketPath: rig.socketPath, sizeBytes }),
      refused('VOLUME_ATTACHED_OTHERWISE'),
    );
    await rig.call('detach', { attachId });
    await rig.call('detach', { attachId });
    assert.equal(fs.existsSync(`/sys/block/${name}/loop`), false);
    assert.deepEqual(
      rig.made.entries().map((made) => made.kind),
      ['socket'],
    );
    assert.equal(await rig.stopAttacher(), 0);
    assert.deepEqual(rig.made.entries(), []);
  });
});

test(
  'an export that the engine does not know is refused, and ends an attachment',
  options,
  async () => {
    await withRig(64 * MIB, async (rig) => {
      const { attachId, socketPath, sizeBytes } = rig;
      const stranger = { attachId: 'b8'.repeat(16), uuid: '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b12' };
      await assert.rejects(
        rig.call('attach', { ...stranger, socketPath, sizeBytes, kind: 'fuse-loop' }),
        refused('ENGINE_UNREACHABLE'),
      );
      const device = await rig.attach();
      await rig.killServer();
      const reading = execute('dd', [
        `if=${device}`,
        'of=/dev/null',
        'bs=4k',
        'count=1',
        'iflag=direct',
      ]);
      const stalled = await Promise.race([reading.catch(() => 'failed'), sleep(500, 'stalled')]);
      assert.equal(stalled, 'stalled');
      await rig.startServer('another');
      await assert.rejects(reading, /Input\/output error/);
      const { devices } = await rig.call('list');
      assert.equal((devices as { state: string }[])[0]!.state, 'ended');
      await rig.call('detach', { attachId });
    });
  },
);

for (const fsType of ['ext4', 'xfs'] as const) {
  test(`${fsType} under kills of the server: no error, nothing lost`, options, async () => {
    await withRig(512 * MIB, (rig) => underKills(rig, fsType));
  });
}

async function underKills(rig: AttachRig, fsType: FsType): Promise<void> {
  const target = { volume: 'v', device: await rig.attach() };
  const { made, mountPath } = rig;
  assert.equal(await ensureFileSystem(target, { fsType, force: false, isBlank: true }), 'made');
  assert.equal(await ensureFileSystem(target, { fsType, force: false, isBlank: false }), 'found');
  await mountFileSystem(target, { fsType, path: mountPath, made });
  assert.equal(await mountFileSystem(target, { fsType, path: mountPath, made }), mountPath);

  const load = fio(
    rig,
    `--directory=${mountPath}`,
    '--rw=randwrite',
    '--bs=4k-64k',
    '--size=48m',
    '--numjobs=2',
    '--fsync=32',
    '--rate_iops=400',
  );
  await killServer(rig, { times: 6, gapMs: 400, downMs: 300 });
  await load;
  assert.equal(await connectCount(rig), 7);

  // What a program wrote and the kernel said nothing bad about, without any fsync.
  const written = path.join(mountPath, 'written');
  const writing = execute('dd', ['if=/dev/urandom', `of=${written}`, 'bs=64k', 'count=800']);
  await killServer(rig, { times: 2, gapMs: 200, downMs: 200 });
  await writing;
  const hash = hashOf(written);
  const syncing = execute('sync', ['-f', mountPath]);
  await killServer(rig, { times: 2, gapMs: 100, downMs: 200 });
  await syncing;

  await unmountFileSystem(target, { path: mountPath, made });
  assert.equal(fs.existsSync(mountPath), false);
  await checkFileSystem(target, {
    fsType,
    scratchDir: rig.directory,
    made,
    drive: 'd',
    roomBytes: 2 ** 40,
  });
  await mountFileSystem(target, { fsType, path: mountPath, made });
  assert.equal(hashOf(written), hash);
  await assert.rejects(rig.call('detach', { attachId: rig.attachId }), refused('VOLUME_MOUNTED'));
  await unmountFileSystem(target, { path: mountPath, made });
  await rig.call('detach', { attachId: rig.attachId });
}

for (const fsType of ['ext4', 'xfs'] as const) {
  test(
    `${fsType} after the attacher's death: swept, attached again, checked, intact`,
    options,
    async () => {
      await withRig(512 * MIB, (rig) => afterDeath(rig, fsType));
    },
  );
}

async function afterDeath(rig: AttachRig, fsType: FsType): Promise<void> {
  const { made, mountPath } = rig;
  const target = { volume: 'v', device: await rig.attach() };
  await ensureFileSystem(target, { fsType, force: false, isBlank: true });
  await mountFileSystem(target, { fsType, path: mountPath, made });
  const kept = path.join(mountPath, 'kept');
  run('dd', 'if=/dev/urandom', `of=${kept}`, 'bs=1M', 'count=32', 'conv=fsync', 'status=none');
  const hash = hashOf(kept);
  // Work under way: a file open, dirty pages, a directory in use.
  const open = fs.openSync(path.join(mountPath, 'open'), 'w');
  fs.writeSync(open, Buffer.alloc(4 * MIB, 7));

  await rig.killAttacher();
  assert.throws(() => fs.fsyncSync(open));
  const report = await rig.sweep('attacher');
  assert.deepEqual(report.left, []);
  assert.deepEqual(
    report.undone.map((thing) => thing.kind),
    ['mount', 'loop', 'fuse'],
  );
  assert.equal(mountAt(mountPath), undefined);

  await rig.startAttacher();
  const again = { volume: 'v', device: await rig.attach() };
  await checkFileSystem(again, {
    fsType,
    scratchDir: rig.directory,
    made,
    drive: 'd',
    roomBytes: 2 ** 40,
  });
  await mountFileSystem(again, { fsType, path: mountPath, made });
  assert.equal(hashOf(kept), hash);
  fs.closeSync(open);
  await unmountFileSystem(again, { path: mountPath, made });
  await rig.call('detach', { attachId: rig.attachId });
}

test('the sweep leaves what is not what was recorded', options, async () => {
  await withRig(64 * MIB, async (rig) => {
    const device = await rig.attach();
    const alive = await rig.sweep('run');
    assert.deepEqual(alive.undone, []);
    assert.deepEqual(alive.left.map(({ made }) => made.kind).toSorted(), [
      'fuse',
      'loop',
      'socket',
    ]);
    const { made, mountPath } = rig;
    const target = { volume: 'v', device };
    await ensureFileSystem(target, { fsType: 'ext4', force: false, isBlank: true });
    await mountFileSystem(target, { fsType: 'ext4', path: mountPath, made });
    assert.deepEqual((await rig.sweep('run')).undone, [], 'a mount whose device is served');
    await unmountFileSystem(target, { path: mountPath, made });
    const maker = { pid: 2 ** 22 + 1, startTicks: 1 };
    rig.made.record({ kind: 'loop', device, backing: '/etc/hostname', maker });
    rig.made.record({ kind: 'mount', path: '/', device, owned: false, parents: [] });
    rig.made.record({ kind: 'fuse', path: '/proc', source: 'proc', maker });
    const mounts = readMounts().length;
    assert.deepEqual((await rig.sweep('run')).undone, []);
    assert.equal(readMounts().length, mounts);
    run('dd', `if=${device}`, 'of=/dev/null', 'bs=4k', 'count=1', 'iflag=direct', 'status=none');
  });
});

test(
  'a mounted xfs grows while it is in use; an ext4 at the latest before it is mounted',
  options,
  async () => {
    await withRig(384 * MIB, async (rig) => {
      const { made, mountPath } = rig;
      const target = { volume: 'v', device: await rig.attach() };
      await ensureFileSystem(target, { fsType: 'xfs', force: false, isBlank: true });
      await mountFileSystem(target, { fsType: 'xfs', path: mountPath, made });
      await grow(rig, 512 * MIB);
      await growFileSystem(target, { fsType: 'xfs', path: mountPath });
      assert.ok(sizeOfMounted(mountPath) > 400 * MIB);
      await unmountFileSystem(target, { path: mountPath, made });

      await ensureFileSystem(target, { fsType: 'ext4', force: true, isBlank: true });
      await grow(rig, 640 * MIB);
      await growUnmounted(target, 'ext4');
      await mountFileSystem(target, { fsType: 'ext4', path: mountPath, made });
      assert.ok(sizeOfMounted(mountPath) > 560 * MIB);
      await grow(rig, 768 * MIB);
      const online = await growFileSystem(target, { fsType: 'ext4', path: mountPath });
      assert.equal(online, hasSysResource() ? 'grown' : 'later');
      const { attachId } = rig;
      const smaller = rig.call('resize', { attachId, sizeBytes: 512 * MIB });
      await assert.rejects(smaller, refused('VOLUME_SHRINK'));
      await unmountFileSystem(target, { path: mountPath, made });
    });
  },
);

/** The volume grows behind its server, as the engine would grow it. */
async function grow(rig: AttachRig, sizeBytes: number): Promise<void> {
  await rig.killServer();
  fs.truncateSync(rig.imagePath, sizeBytes);
  await rig.startServer();
  const status = await rig.call('resize', { attachId: rig.attachId, sizeBytes });
  assert.equal(status.sizeBytes, sizeBytes);
}

test('what stands in the way is named with the way out', options, async () => {
  await withRig(384 * MIB, async (rig) => {
    const { made, mountPath } = rig;
    const target = { volume: 'v', device: await rig.attach() };
    const mount = { fsType: 'ext4', path: mountPath, made } as const;
    await assert.rejects(mountFileSystem(target, mount), /it holds no file system, not ext4/);
    assert.equal(fs.existsSync(mountPath), false);
    await ensureFileSystem(target, { fsType: 'ext4', force: false, isBlank: true });
    const other = ensureFileSystem(target, { fsType: 'xfs', force: false, isBlank: true });
    await assert.rejects(other, refused('MOUNT_FOREIGN'));
    fs.mkdirSync(mountPath);
    fs.writeFileSync(path.join(mountPath, 'mine'), '');
    await assert.rejects(mountFileSystem(target, mount), refused('MOUNT_PATH_USED'));
    fs.rmSync(path.join(mountPath, 'mine'));
    await mountFileSystem(target, mount);
    const elsewhere = { ...mount, path: path.join(rig.directory, 'else') };
    await assert.rejects(mountFileSystem(target, elsewhere), refused('VOLUME_MOUNTED_OTHERWISE'));
    const busy = fs.openSync(path.join(mountPath, 'f'), 'w');
    const unmounting = unmountFileSystem(target, { path: mountPath, made });
    await assert.rejects(unmounting, new RegExp(`process ${process.pid} \\(.*\\) uses it`));
    fs.closeSync(busy);
    await unmountFileSystem(target, { path: mountPath, made });
    await unmountFileSystem(target, { path: mountPath, made });
    assert.equal(fs.existsSync(mountPath), true, 'a directory that was there before stays');
  });
});

async function onThreads(rig: AttachRig): Promise<void> {
  const device = await rig.attach();
  const load = fio(rig, `--filename=${device}`, '--rw=randwrite', '--bs=4k', '--size=8m');
  await killServer(rig, { times: 2, gapMs: 200, downMs: 200 });
  await load;
  await rig.call('detach', { attachId: rig.attachId });
  assert.equal(await rig.stopAttacher(), 0);
}

test('without io_uring the same works on threads', options, async () => {
  await withRig(64 * MIB, onThreads, 'node');
});

/** Direct writes that fio reads again and compares. */
async function fio(rig: AttachRig, ...values: readonly string[]): Promise<void> {
  const common = ['--name=v', '--ioengine=libaio', '--iodepth=8', '--direct=1', '--verify=crc32c'];
  await execute('fio', [...common, ...values], { cwd: rig.directory });
}
