/** Places where `--data` cannot be: each is refused in one line that names it and the reason, and nothing there is touched. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { CliRig, device, copyInstallation } from './rigs/cli-rig.ts';
import { TEST_MOUNT, sweepEarlierTests } from './rigs/control-rig.ts';

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

after(() => rig.close());

/** `up` ends with 1 and one line that begins like this. */
async function refusesUp(data: string, says: RegExp, uid?: number): Promise<void> {
  for (const more of [[], ['--detach']]) {
    const words = ['up', ...more, '--sparse', '--drive-size', '1GiB', '--data', data];
    const ended = await rig.run(words, uid === undefined ? {} : { uid });
    assert.equal(ended.code, 1, ended.err);
    assert.match(ended.err, says);
    assert.equal(ended.err.trimEnd().split('\n').length, 1, ended.err);
  }
}

test('a file', async () => {
  const file = path.join(rig.directory, 'file');
  fs.writeFileSync(file, 'kept');
  await refusesUp(file, /^Cannot use ".*\/file": .*not a directory/);
  assert.equal(fs.readFileSync(file, 'utf8'), 'kept');
});

test('a file system where nothing can be made', { timeout: 20_000 }, async () => {
  await refusesUp('/proc/holdfast', /^Cannot use "\/proc\/holdfast": .*no such file or directory/);
});

const asNobody = isRoot ? {} : { skip: 'needs root, to be somebody else' };
test("somebody else's directory", asNobody, async () => {
  const own = path.join(rig.directory, 'own');
  fs.mkdirSync(own, { mode: 0o700 });
  const parent = path.join(rig.directory, 'parent');
  fs.mkdirSync(parent, { mode: 0o755 });
  fs.chmodSync(rig.directory, 0o755);
  await refusesUp(own, /^Cannot use ".*": .*permission denied/, NOBODY);
  await refusesUp(path.join(own, 'below'), /^Cannot use ".*": .*permission denied/, NOBODY);
  await refusesUp(path.join(parent, 'x'), /^Cannot use ".*": .*permission denied/, NOBODY);
});

test('a directory where others have our names', async () => {
  for (const name of ['lock', 'state.db', 'engine.json']) {
    const foreign = path.join(rig.directory, `with-${name}`);
    fs.mkdirSync(path.join(foreign, name), { recursive: true });
    await refusesUp(foreign, new RegExp(`^Cannot use ".*": "${name}" in it is not Holdfast's`));
    assert.deepEqual(fs.readdirSync(foreign), [name]);
  }
  const withLock = path.join(rig.directory, 'with-lock');
  const ended = await rig.run(['uninstall', '--yes', '--data', withLock]);
  assert.equal(ended.code, 1, ended.err);
  assert.match(ended.err, /^Cannot use ".*": it is no installation of Holdfast\n/);
  for (const name of ['lock', 'token', 'api.json']) {
    const taken = path.join(rig.directory, `taken-${name}`);
    fs.mkdirSync(taken);
    fs.writeFileSync(path.join(taken, name), 'of somebody');
    await refusesUp(taken, new RegExp(`^Cannot use ".*": "${name}" in it is not Holdfast's`));
    assert.equal(fs.readFileSync(path.join(taken, name), 'utf8'), 'of somebody');
  }
});

const canMount = isRoot ? {} : { skip: 'needs root, to mount' };
test('a full disk, and one that is read-only', canMount, async () => {
  const disk = path.join(rig.directory, 'disk');
  fs.mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', TEST_MOUNT, disk]);
  try {
    const data = path.join(disk, 'data');
    for (const name of ['drives', 'mnt', 'log', 'run/nbd']) {
      fs.mkdirSync(path.join(data, name), { recursive: true });
    }
    fs.writeFileSync(path.join(data, 'log', 'supervisor.log'), '');
    const full = fs.openSync(path.join(disk, 'full'), 'w');
    assert.throws(() => {
      for (;;) fs.writeSync(full, new Uint8Array(4096));
    }, /ENOSPC/);
    fs.closeSync(full);
    const says = /^Cannot start: ".*data" cannot be written: no space left.*; free some space/;
    await refusesUp(data, says);
    fs.rmSync(data, { recursive: true });
    fs.rmSync(path.join(disk, 'full'));
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    await refusesUp(path.join(disk, 'new'), /^Cannot use ".*": mkdir.*read-only file system/);
    await refusesUp(disk, /^Cannot use ".*": mkdir.*read-only file system/);
  } finally {
    execFileSync('umount', ['-l', disk]);
  }
});

test('up without its records is refused, and forgets no drive', async () => {
  const data = path.join(rig.directory, 'lost');
  const make = ['up', '--detach', '--sparse', '--drive-size', '256MiB', '--data', data];
  assert.equal((await rig.run(make)).code, 0);
  assert.equal((await rig.run(['down', '--data', data])).code, 0);
  const list = fs.readFileSync(path.join(data, 'engine.json'), 'utf8');
  const records = path.join(data, 'state.db');
  fs.renameSync(records, `${records}.away`);
  await refusesUp(data, /^Cannot start: ".*state\.db" is gone, and the drive ".*default\.img" is/);
  assert.equal(fs.readFileSync(path.join(data, 'engine.json'), 'utf8'), list);
  fs.renameSync(`${records}.away`, records);
  const up = await rig.run(make);
  assert.equal(up.code, 0, up.err);
  assert.equal((await rig.run(['uninstall', '--yes', '--data', data])).code, 0);
});

test('a backup of records that know nothing of an attachment: the volume is attached anew, and removed', async () => {
  const own = new CliRig();
  await own.up();
  const names = ['attached', 'removed'];
  for (const name of names) await own.json('volume', 'create', name, '--size', '16MiB');
  const backup = path.join(own.directory, 'records');
  await own.json('store', 'backup', backup);
  for (const name of names) await own.json('volume', 'attach', name, '--nbd');
  const { id } = await own.json('volume', 'create', 'later', '--size', '16MiB');
  await own.json('down');
  await own.json('store', 'restore', backup, '--yes');
  await own.json('up', '--detach');
  const { uri } = await own.json('volume', 'attach', 'attached', '--nbd');
  assert.match(String(uri), /^nbd\+unix:/);
  await own.json('volume', 'rm', 'removed', '--now', '--yes');
  await own.json('volume', 'detach', 'attached');
  await own.json('volume', 'rm', 'attached', '--now', '--yes');
  assert.deepEqual(await own.json('volume', 'ls'), []);
  const refused = await own.run(['drive', 'rm', 'default', '--yes']);
  assert.match(refused.err, new RegExp(`it holds volume "${String(id)}" \\(on no record\\)`));
  await own.json('down');
  await own.close();
});

test('damaged records are told at once, by up and by uninstall', async () => {
  const data = path.join(rig.directory, 'damaged');
  const up = await rig.run([
    'up',
    '--detach',
    '--sparse',
    '--drive-size',
    '256MiB',
    '--data',
    data,
  ]);
  assert.equal(up.code, 0, up.err);
  assert.equal((await rig.run(['down', '--data', data])).code, 0);
  const records = path.join(data, 'state.db');
  fs.writeFileSync(records, Buffer.alloc(20_000, 'x'));
  await refusesUp(data, /^Cannot start: ".*state\.db" cannot be read \(file is not a database\)/);
  const ended = await rig.run(['uninstall', '--yes', '--data', data]);
  assert.equal(ended.code, 1, ended.err);
  assert.match(
    ended.err,
    /^Cannot use ".*state\.db": it cannot be read \(file is not a database\)/,
  );
  assert.ok(fs.existsSync(path.join(data, 'drives', 'default.img')), 'nothing was deleted');
});

/** The data directory of a rig that is down, copied; and the command line for the copy. */
function copyOf(original: CliRig): {
  readonly at: string;
  readonly there: (...words: string[]) => Promise<Record<string, unknown>>;
} {
  const at = path.join(original.directory, 'copy');
  copyInstallation(original.data, at);
  return { at, there: (...words) => original.json(...words, '--data', at) };
}

test('a copy of a data directory has drives and sockets of its own', async () => {
  const original = new CliRig();
  await original.up();
  await original.json('volume', 'create', 'v', '--size', '64MiB');
  await original.json('volume', 'attach', 'v', '--nbd');
  await original.json('down');
  const { at, there } = copyOf(original);
  await original.up();
  await there('up', '--detach');
  for (const words of [['attach', 'v', '--nbd'], ['inspect', 'v'] as const]) {
    const view = await there('volume', ...words);
    const { uri = view['uri'] } = (view['attachment'] ?? {}) as { uri?: unknown };
    const socket = new URL(String(uri)).searchParams.get('socket') ?? '';
    assert.equal(path.dirname(socket), path.join(fs.realpathSync(path.join(at, 'run')), 'nbd'));
    assert.ok(fs.lstatSync(socket).isSocket());
  }
  const drives = (await there('drive', 'ls')) as unknown as { path: string; state: string }[];
  assert.deepEqual(
    drives.map((drive) => [drive.path, drive.state]),
    [[path.join(at, 'drives', 'default.img'), 'open']],
  );
  await there('uninstall', '--yes');
  assert.ok(
    fs.existsSync(path.join(original.data, 'drives', 'default.img')),
    'the first is untouched',
  );
  await original.json('down');
  await original.close();
});

test('a copy leaves the drives outside to the original, until it is said to be the only one', async () => {
  const original = new CliRig();
  await original.up();
  const outside = path.join(original.directory, 'outside.img');
  await original.json('drive', 'add', 'o', '--path', outside, '--size', '128MiB', '--sparse');
  await original.json('down');
  const { at, there } = copyOf(original);
  await refusesUp(
    at,
    /^Cannot start: the records in ".*copy" are a copy, and the drive ".*outside/,
  );
  fs.rmSync(path.join(at, 'engine.json'));
  await there('up', '--detach');
  const drives = (await there('drive', 'ls')) as unknown as { state: string }[];
  assert.deepEqual(
    drives.map(({ state }) => state),
    ['open', 'open'],
  );
  await there('uninstall', '--yes');
  assert.ok(fs.existsSync(outside), 'it is not the copy that made it');
  await original.close();
});

test(
  'a copy of a data directory mounts below itself what the first has below it',
  device,
  async () => {
    const original = new CliRig();
    await original.up();
    await original.json('volume', 'create', 'v', '--size', '64MiB');
    const first = await original.json('volume', 'mount', 'v');
    await original.json('down');
    const { at, there } = copyOf(original);
    await there('up', '--detach');
    const mount = (await there('volume', 'inspect', 'v'))['mount'] as {
      path: string;
      state: string;
    };
    assert.deepEqual([mount.path, mount.state], [path.join(at, 'mnt', 'v'), 'mounted']);
    assert.match(fs.readFileSync('/proc/mounts', 'utf8'), new RegExp(` ${mount.path} ext4 `));
    assert.ok(!fs.existsSync(String(first['path'])), 'nothing is where the first had it');
    await there('down');
    await original.close();
  },
);

test('a directory with something in it is refused, and an empty --data', async () => {
  const foreign = path.join(rig.directory, 'foreign');
  fs.mkdirSync(foreign);
  fs.writeFileSync(path.join(foreign, 'letter'), 'dear');
  const refused = await rig.run(['up', '--detach', '--data', foreign]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /there is "letter" in it/);
  assert.deepEqual(fs.readdirSync(foreign), ['letter']);
  const empty = await rig.run(['status', '--data', '']);
  assert.equal(empty.code, 2);
  assert.match(empty.err, /--data is empty/);
});
