/** The first `up` and the drive that it makes, and what `uninstall` says of drives that are not its own. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { ApiClient } from '../src/cli/api-client.ts';
import { installationAt } from '../src/control/installation.ts';
import type { DriveView } from '../src/control/drive-schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, copyInstallation } from './rigs/cli-rig.ts';
import { processesOf } from './rigs/control-rig.ts';

const TOO_LARGE = ['--drive-size', '1PiB'];
const rig = new CliRig();

after(() => rig.close());

for (const how of [['--detach'], [], ['--output', 'json']]) {
  test(`up ${how.join(' ')} that is refused its drive leaves nothing running`, async () => {
    const refused = await rig.run(['up', ...how, ...TOO_LARGE]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.err,
      /it needs 1 PiB, and 1 GiB that stays free for the host, and .* are free/,
    );
    assert.match(refused.err, /[\d.]+[GT]iB fits: --drive-size/);
    assert.deepEqual(processesOf(rig.directory), []);
    assert.deepEqual(fs.readdirSync(rig.directory), [], 'what it made it takes back');
    assert.equal((await rig.run(['status'])).code, 3);
  });
}

test('up --output json in the foreground answers when it is ready, as --detach does', async () => {
  const sizes = ['--sparse', '--drive-size', '1GiB'];
  const child = rig.start(['up', '--output', 'json', ...sizes]);
  let out = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const exit = once(child, 'exit');
  await until(() => out.endsWith('}\n') || child.exitCode !== null);
  const answer = JSON.parse(out);
  assert.deepEqual(shapeOf(answer.driveViews), { default: 2 ** 30 });
  assert.equal(answer.processes.engine.state, 'running');
  const listed: unknown = JSON.parse((await rig.run(['drive', 'ls', '--output', 'json'])).out);
  assert.deepEqual(shapeOf(listed), { default: 2 ** 30 });

  child.kill('SIGINT');
  assert.deepEqual(await exit, [0, null]);
  assert.deepEqual(processesOf(rig.directory), []);
  const detached = await rig.up();
  assert.deepEqual(Object.keys(detached), Object.keys(answer));
  assert.deepEqual(shapeOf(detached['driveViews']), { default: 2 ** 30 });
  await rig.json('uninstall', '--yes');
});

/** Names and sizes of drives. */
function shapeOf(drives: unknown): Record<string, number> {
  assert.ok(Array.isArray(drives));
  return Object.fromEntries(drives.map(({ name, sizeBytes }) => [name, sizeBytes]));
}

test('Ctrl-C in the format of the first drive ends in order, and the next up has the drive', async () => {
  const child = rig.start(['up', '--drive-size', '1GiB']);
  const exit = once(child, 'exit');
  const api = new ApiClient([installationAt(rig.data)]);
  await until(async () => {
    const [drive] = await api.get<DriveView[]>('/v1/drives').catch(() => []);
    return (drive?.progress?.doneBytes ?? 0) > 0;
  });
  child.kill('SIGINT');
  assert.deepEqual(await exit, [0, null]);
  assert.deepEqual(processesOf(rig.directory), []);
  const up = await rig.json('up', '--detach');
  assert.deepEqual(shapeOf(up['driveViews']), { default: 2 ** 30 });
  const { drives } = await rig.json('status');
  assert.equal((drives as { state: string }[])[0]?.state, 'open');
  await rig.json('uninstall', '--yes');
});

test('up after a refused one makes the drive that is asked for now', async () => {
  await rig.up();
  const drives = await rig.run(['drive', 'ls']);
  assert.match(drives.out, /default +1 GiB/);
});

test('up tells of a drive that it cannot open, and of a size that it does not give', async () => {
  await rig.json('down');
  const other = await rig.run(['up', '--detach', '--drive-size', '2GiB']);
  assert.equal(other.code, 0, other.err);
  assert.match(
    other.err,
    /--drive-size 2GiB is for a first drive, and drive "default" of 1 GiB is/,
  );
  await rig.json('down');
  const image = path.join(rig.data, 'drives', 'default.img');
  fs.renameSync(image, `${image}.away`);
  const up = await rig.run(['up', '--detach', '--drive-size', '1GiB']);
  assert.match(up.err, /^Warning: drive "default" is faulted: .*there is no such file/);
  assert.equal(up.code, 0, up.err);
  await rig.json('down');
  fs.renameSync(`${image}.away`, image);
  const well = await rig.run(['up', '--detach']);
  assert.deepEqual([well.code, /Warning/.test(well.err)], [0, false], well.err);
});

test('a file system that there is not is a usage error that names those there are', async () => {
  const refused = await rig.run(['volume', 'mount', 'v', '--fs', 'ntfs']);
  assert.equal(refused.code, 2);
  assert.match(refused.err, /ntfs.*ext4, xfs/);
});

test('uninstall leaves a drive that it did not make, and says so', async () => {
  const outside = path.join(rig.directory, 'outside.img');
  fs.writeFileSync(outside, '');
  fs.truncateSync(outside, 2 ** 30);
  await rig.json('drive', 'add', 'outside', '--path', outside);
  const answer = await rig.json('uninstall', '--yes');
  assert.deepEqual(answer, { uninstalled: true, left: [outside] });
  assert.equal(fs.statSync(outside).size, 2 ** 30);
  assert.ok(!fs.existsSync(rig.data));
});

test('uninstall deletes a drive that it made, wherever that is, and its neighbours stay', async () => {
  const beside = path.join(rig.directory, 'beside');
  fs.mkdirSync(beside);
  const made = path.join(beside, 'made.img');
  const foreign = path.join(beside, 'foreign.img');
  fs.writeFileSync(foreign, '');
  fs.truncateSync(foreign, 2 ** 30);
  await rig.up();
  await rig.json('drive', 'add', 'made', '--path', made, '--size', '128MiB', '--sparse');
  await rig.json('drive', 'add', 'foreign', '--path', foreign);
  assert.equal((await rig.run(['uninstall'])).code, 2, 'nobody was asked');
  assert.ok(fs.existsSync(made));
  const answer = await rig.json('uninstall', '--yes');
  assert.deepEqual(answer, { uninstalled: true, left: [foreign] });
  assert.deepEqual(fs.readdirSync(beside), ['foreign.img']);
});

test('uninstall where the directory, or its drives, are a link: the drive goes, the links that a user made stay', async () => {
  const at = (name: string): string => path.join(rig.directory, name);
  for (const name of ['real', 'disk']) fs.mkdirSync(at(name));
  fs.symlinkSync(at('real'), at('link'));
  fs.symlinkSync(at('disk'), at('real/drives'));
  const words = ['up', '--detach', '--sparse', '--drive-size', '128MiB', '--data', at('link')];
  assert.equal((await rig.run(words)).code, 0);
  assert.deepEqual(fs.readdirSync(at('disk')), ['default.img']);
  const ended = await rig.run(['uninstall', '--yes', '--data', at('link')]);
  assert.equal(ended.code, 0, ended.err);
  assert.deepEqual([...fs.readdirSync(at('disk')), ...fs.readdirSync(at('real'))], []);
  assert.ok(fs.lstatSync(at('link')).isSymbolicLink());
});

test('uninstall of a copied installation leaves a drive that the original made outside', async () => {
  const made = path.join(rig.directory, 'shared.img');
  const copy = path.join(rig.directory, 'copy');
  await rig.up();
  await rig.json('drive', 'add', 'made', '--path', made, '--size', '128MiB', '--sparse');
  await rig.json('down');
  for (const isRunning of [false, true]) {
    if (isRunning) await rig.json('up', '--detach');
    copyInstallation(rig.data, copy);
    const ended = await rig.run(['uninstall', '--yes', '--data', copy]);
    assert.equal(ended.code, 0, ended.err);
    assert.match(ended.out, /shared\.img" is left as it is: the records .* are a copy/);
    assert.deepEqual([fs.existsSync(copy), fs.existsSync(made)], [false, true]);
  }
  await rig.json('uninstall', '--yes');
  assert.ok(!fs.existsSync(made), 'the original deletes it');
});
