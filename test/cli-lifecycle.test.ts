/** How an installation begins and ends: in the foreground, without rights, with long paths, and with nothing left. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { readMounts } from '../src/attacher/mount-table.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, NOBODY, device, root } from './rigs/cli-rig.ts';
import { TEST_MOUNT, processesOf, sweepEarlierTests } from './rigs/control-rig.ts';

let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

afterEach(async () => {
  // What a failed test left must not fail the next.
  await rig.run(['uninstall', '--yes']);
});

after(() => rig.close());

function found(directory: string): string[] {
  return fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted();
}

function modeOf(file: string): number {
  return fs.statSync(file).mode & 0o777;
}

test('what is made is for its owner alone, and uninstall leaves nothing', device, async () => {
  const around = [found(rig.directory), holdfastsInTmp()];
  await rig.up();
  await rig.json('volume', 'create', 'data', '--size', '64MiB');
  await rig.json('volume', 'mount', 'data');
  await rig.json('docker', 'enable');
  assert.equal(modeOf(rig.data), 0o700);
  for (const name of ['drives/default.img', 'state.db', 'lock', 'engine.json', 'log/engine.log']) {
    assert.equal(modeOf(path.join(rig.data, name)), 0o600, name);
  }
  for (const name of ['api.sock', 'engine.sock', 'attacher.sock']) {
    assert.equal(modeOf(path.join(rig.data, 'run', name)) & 0o077, 0, name);
  }
  await rig.json('uninstall', '--yes');
  assert.deepEqual([found(rig.directory), holdfastsInTmp()], around);
  assert.deepEqual(processesOf(rig.directory), []);
  assert.deepEqual(ofMine(readMounts().map((mount) => mount.path)), []);
  assert.deepEqual(ofMine(loopBackings()), []);
});

const ofMine = (paths: readonly string[]): string[] =>
  paths.filter((each) => each.startsWith(rig.directory));

/** Run directories of installations whose own path is too long. */
function holdfastsInTmp(): string[] {
  return fs.readdirSync('/tmp').filter((name) => /^holdfast-[0-9a-f]{12}$/.test(name));
}

function loopBackings(): string[] {
  return fs.readdirSync('/sys/block').flatMap((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return fs.existsSync(file) ? [fs.readFileSync(file, 'utf8').trim()] : [];
  });
}

test(
  'directories that a mount made go with the last mount that is below them',
  device,
  async () => {
    const theirs = path.join(rig.directory, 'theirs');
    const at = (...names: string[]): string => path.join(theirs, 'a', 'b', ...names);
    fs.mkdirSync(theirs);
    await rig.up();
    for (const name of ['one', 'two']) {
      await rig.json('volume', 'create', name, '--size', '64MiB');
      await rig.json('volume', 'mount', name, '--at', at(name));
    }
    const used = await rig.run(['volume', 'mount', 'one', '--at', path.join(theirs, 'x', 'y')]);
    assert.equal(used.code, 1, 'it is mounted elsewhere');
    await rig.json('volume', 'unmount', 'one');
    assert.deepEqual(found(theirs), ['a', 'a/b', 'a/b/two']);
    await rig.json('volume', 'unmount', 'two');
    assert.deepEqual(found(theirs), [], 'what was there before stays');
    await rig.json('volume', 'mount', 'one', '--at', at('one'));
    await rig.json('uninstall', '--yes');
    assert.deepEqual(found(theirs), []);
    fs.rmdirSync(theirs);
  },
);

test('the socket of a plugin goes with an installation that was killed, too', async () => {
  await rig.up();
  await rig.json('docker', 'enable');
  const socket = path.join(rig.pluginDirectory, 'holdfast.sock');
  for (const role of ['up', 'control', 'attacher', 'engine']) {
    const running = processesOf(rig.directory).filter(({ words }) => words.includes(role));
    for (const { pid } of running) process.kill(pid, 'SIGKILL');
  }
  await until(() => processesOf(rig.directory).length === 0);
  assert.ok(fs.existsSync(socket), 'left');
  await rig.json('uninstall', '--yes');
  assert.ok(!fs.existsSync(rig.pluginDirectory));
});

test('uninstall and up refuse a directory of something else, and change nothing', async () => {
  const foreign = path.join(rig.directory, 'foreign');
  fs.mkdirSync(path.join(foreign, 'log'), { recursive: true });
  fs.writeFileSync(path.join(foreign, 'log', 'diary'), 'dear');
  fs.writeFileSync(path.join(foreign, 'lock'), '');
  const known = found(foreign);
  for (const words of [
    ['uninstall', '--yes'],
    ['up', '--detach'],
  ]) {
    const ended = await rig.run([...words, '--data', foreign]);
    assert.equal(ended.code, 1, ended.err);
    assert.match(ended.err, /Cannot use ".*foreign": /);
  }
  assert.deepEqual(found(foreign), known);
  const nothing = await rig.run(['uninstall', '--yes', '--data', path.join(foreign, 'nothing')]);
  assert.equal(nothing.code, 0, 'what is not there is uninstalled');
});

test('a data directory with a long path works, and leaves nothing in /tmp', async () => {
  const data = path.join(rig.directory, 'x'.repeat(120));
  const known = holdfastsInTmp();
  const options = { env: { HOLDFAST_DATA: data } };
  const up = await rig.run(['up', '--detach', '--sparse', '--drive-size', '128MiB'], options);
  assert.equal(up.code, 0, up.err);
  await rig.run(['volume', 'create', 'v', '--size', '4MiB'], options);
  const attached = await rig.run(['volume', 'attach', 'v', '--nbd'], options);
  const socket = /socket=(.*)$/m.exec(attached.out)?.[1] ?? '';
  assert.ok(socket !== '' && socket.length <= 107, attached.out);
  assert.ok(fs.statSync(decodeURIComponent(socket)).isSocket());
  assert.equal((await rig.run(['uninstall', '--yes'], options)).code, 0);
  assert.ok(!fs.existsSync(data));
  assert.deepEqual(holdfastsInTmp(), known);
});

test('nobody: no block device, and the way out is named and works', root, async () => {
  const home = path.join(rig.directory, 'home');
  fs.chmodSync(rig.directory, 0o755);
  fs.mkdirSync(home);
  fs.chownSync(home, NOBODY, NOBODY);
  const run = (...words: string[]) =>
    rig.run(words, { uid: NOBODY, cwd: home, env: { HOLDFAST_DATA: path.join(home, 'data') } });
  const closed = await run('up', '--detach', '--data', path.join(rig.directory, 'closed'));
  assert.equal(closed.code, 1);
  assert.match(closed.err, /Cannot use ".*closed": mkdir: permission denied \(EACCES\)/);
  const up = await run('up', '--detach', '--sparse', '--drive-size', '128MiB');
  assert.equal(up.code, 0, up.err);
  try {
    assert.equal((await run('volume', 'create', 'v', '--size', '4MiB')).code, 0);
    for (const words of [
      ['attach', 'v'],
      ['mount', 'v'],
    ]) {
      const refused = await run('volume', ...words);
      assert.equal(refused.code, 1);
      assert.match(
        refused.err,
        /Cannot mount on this machine: .*\nholdfast volume attach NAME --nbd/,
      );
    }
    const attached = await run('volume', 'attach', 'v', '--nbd');
    assert.equal(attached.code, 0, attached.err);
    const taken = await run('drive', 'add', 'other', '--path', '/etc/shadow');
    assert.equal(taken.code, 2, taken.err);
    assert.match(taken.err, /Cannot use path "\/etc\/shadow"/);
  } finally {
    assert.equal((await run('uninstall', '--yes')).code, 0);
  }
  assert.deepEqual(found(home), []);
});

/** `up` in the foreground, ready. */
async function upHere() {
  const child = rig.start(['up', '--sparse', '--drive-size', '1GiB']);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until(() => said.includes('Ctrl-C ends it'));
  return { child, ended: once(child, 'exit') as Promise<[number | null]>, said: () => said };
}

test(
  'Ctrl-C ends in order, and its echo within half a second is the same one',
  device,
  async () => {
    const { child, ended } = await upHere();
    await rig.json('volume', 'create', 'data', '--size', '64MiB');
    const { mount } = await rig.json('volume', 'mount', 'data');
    const { path: at } = mount as { path: string };
    child.kill('SIGINT');
    await sleep(20);
    child.kill('SIGINT');
    const [code] = await ended;
    assert.equal(code, 0);
    assert.deepEqual(processesOf(rig.directory), []);
    assert.ok(!readMounts().some((each) => each.path === at));
    await rig.up();
    const volume = await rig.json('volume', 'inspect', 'data');
    assert.equal(
      (volume['mount'] as { state: string }).state,
      'mounted',
      'wanted still, so mounted again',
    );
    await rig.json('uninstall', '--yes');
  },
);

test(
  'a second Ctrl-C ends at once, and the next up sweeps and serves what was there',
  device,
  async () => {
    const { child, ended } = await upHere();
    await rig.json('volume', 'create', 'data', '--size', '64MiB');
    const { mount } = await rig.json('volume', 'mount', 'data');
    const { path: at } = mount as { path: string };
    fs.writeFileSync(path.join(at, 'kept'), 'kept', { flush: true });
    const busy = fs.openSync(path.join(at, 'kept'), 'r');
    child.kill('SIGINT');
    await sleep(700);
    assert.equal(child.exitCode, null, 'a busy mount holds the orderly end up');
    child.kill('SIGINT');
    const [code] = await ended;
    assert.equal(code, 1);
    fs.closeSync(busy);
    await until(() => processesOf(rig.directory).length === 0);
    await rig.up();
    assert.equal(fs.readFileSync(path.join(at, 'kept'), 'utf8'), 'kept');
    await rig.json('uninstall', '--yes');
  },
);

test('output that nobody reads ends nothing', async () => {
  const { child, ended } = await upHere();
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.kill('SIGINT');
  const [code] = await ended;
  assert.equal(code, 0, 'an orderly end although its words went nowhere');
  await rig.json('uninstall', '--yes');
});

test('a file system without direct I/O is refused with the way out', device, async (context) => {
  const at = path.join(rig.directory, 'proc');
  fs.mkdirSync(at);
  // ramfs has no direct I/O; where a kernel gives it some, there is nothing to refuse.
  execFileSync('mount', ['-t', 'ramfs', TEST_MOUNT, at]);
  try {
    const file = path.join(at, 'drive.img');
    fs.writeFileSync(file, '');
    try {
      fs.closeSync(fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_DIRECT));
      context.skip('ramfs opens files for direct I/O here');
      return;
    } catch {
      // As it must be for this test.
    }
    await rig.up();
    const ended = await rig.run(['drive', 'add', 'odd', '--path', file, '--size', '128MiB']);
    assert.equal(ended.code, 1, ended.err);
    assert.match(ended.err, /has no direct I\/O\nPut the drive on ext4/);
    await rig.json('uninstall', '--yes');
  } finally {
    execFileSync('umount', ['-l', at]);
  }
});
