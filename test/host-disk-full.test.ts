/** The disk that holds an installation is full, and each of its processes dies: the supervisor starts them again, and I/O goes on. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { EXIT_USAGE } from '../src/env/node/role-process.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, device, root } from './rigs/cli-rig.ts';
import { NbdConnection } from './rigs/nbd-connection.ts';

const MAIN = new URL('../src/main.ts', import.meta.url).pathname;
const ROLES = ['engine', 'attacher', 'control'] as const;

/** Until not a byte more fits: nearly all of it reserved, which costs nothing, and the rest written. */
function fill(file: string): void {
  const { bavail, bsize } = fs.statfsSync(path.dirname(file));
  execFileSync('fallocate', ['-l', String(bavail * bsize - 2 ** 23), `${file}.most`]);
  const fd = fs.openSync(file, 'w');
  for (const size of [2 ** 20, 1]) {
    try {
      for (;;) fs.writeSync(fd, new Uint8Array(size));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
  fs.closeSync(fd);
}

/** Calls `task` with an installation on a file system of its own. */
async function onOwnDisk(task: (rig: CliRig) => Promise<void>): Promise<void> {
  const rig = new CliRig();
  fs.mkdirSync(rig.data);
  const image = path.join(rig.directory, 'disk.img');
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 1536 * 2 ** 20);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, rig.data]);
  try {
    await rig.json('up', '--detach', '--drive-size', '128MiB');
    await task(rig);
  } finally {
    await rig.run(['down']);
    execFileSync('umount', [rig.data]);
    await rig.close();
  }
}

function makeRoom(rig: CliRig): void {
  for (const name of ['filler', 'filler.most']) fs.rmSync(path.join(rig.data, name));
}

test('on a full disk the processes are started again when they die', root, () =>
  onOwnDisk(async (rig) => {
    const pids = async (): Promise<readonly (number | null)[]> => {
      const { processes } = (await rig.json('status')) as unknown as StatusView;
      return ['supervisor', ...ROLES].map((role) => processes[role]?.pid ?? null);
    };
    await rig.json('volume', 'create', 'v', '--size', '32MiB');
    const { uri } = await rig.json('volume', 'attach', 'v', '--nbd');
    const before = await pids();
    fill(path.join(rig.data, 'filler'));

    for (const pid of before.slice(1)) process.kill(Number(pid), 'SIGKILL');
    await until(async () => {
      const connection = await NbdConnection.open(String(uri)).catch(() => undefined);
      if (connection === undefined) return false;
      const data = Buffer.alloc(4096, 7);
      await connection.request({ kind: 'write', offsetBytes: 0, data, fua: false });
      await connection.request({ kind: 'flush' });
      connection.close();
      return true;
    });

    await until(async () => (await rig.run(['status'])).code === 0);
    const refused = await rig.run(['volume', 'create', 'w', '--size', '16MiB']);
    assert.equal(refused.code, 1, refused.err);
    assert.match(refused.err, /disk is full|no space left/);
    const known = await pids();
    const upgrade = await rig.run(['upgrade']);
    assert.equal(upgrade.code, 1, upgrade.err);
    assert.match(upgrade.err, /no space left/);
    assert.deepEqual(await pids(), known, 'nothing was stopped');

    makeRoom(rig);
    await until(async () => {
      const now = await pids().catch(() => []);
      return (
        now.length > 0 &&
        now.every((pid, at) => pid !== null && (at === 0) === (pid === before[at]))
      );
    });
    await rig.json('down');
  }),
);

test('on a full disk an installation is ended in order, and is back as it was', device, () =>
  onOwnDisk(async (rig) => {
    await rig.json('volume', 'create', 'v', '--size', '32MiB');
    const { mount } = (await rig.json('volume', 'mount', 'v')) as unknown as VolumeView;
    const witness = path.join(mount?.path ?? '', 'witness');
    fs.writeFileSync(witness, 'kept');
    fill(path.join(rig.data, 'filler'));
    await rig.json('down');
    assert.ok(!fs.existsSync(witness));
    makeRoom(rig);
    await rig.json('up', '--detach');
    assert.equal(fs.readFileSync(witness, 'utf8'), 'kept');
  }),
);

test('a role whose log takes no more goes on', async () => {
  const full = fs.openSync('/dev/full', 'w');
  const child = spawn(process.execPath, [MAIN, 'engine'], { stdio: ['ignore', 'ignore', full] });
  const [status] = await once(child, 'exit');
  fs.closeSync(full);
  assert.equal(status, EXIT_USAGE, 'it ends for what it wanted to log');
});
