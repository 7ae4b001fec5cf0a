/** Podman on volumes of the plugin: containers, prune, kills of Holdfast's processes. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';

import { PLUGIN_DIRECTORY } from '../src/control/docker/plugins.ts';
import { until } from './rigs/attach-rig.ts';
import type { Ended } from './rigs/cli-rig.ts';
import { SEED, makeImage } from './rigs/container-image.ts';
import { ContainerRig, WRITER } from './rigs/container-rig.ts';
import { needing } from './rigs/sandbox.ts';

const IMAGE = 'holdfast-test:1';
const options = needing('podman', 'conmon', 'ldd', 'tar');
let rig: ContainerRig;

/** `podman …` with folders of the test's own, to its end. */
function podman(...words: readonly string[]): Promise<Ended> {
  const folders = ['--root', rig.at('podman'), '--runroot', '/run/podman'];
  const config = `CONTAINERS_CONF=${rig.at('containers.conf')}`;
  return rig.sandbox.run('env', config, 'podman', ...folders, ...words);
}

/** The same, which must succeed; resolves with what it printed. */
async function must(...words: readonly string[]): Promise<string> {
  const { code, out, err } = await podman(...words);
  if (code !== 0) throw new Error(`podman ${words.join(' ')}: ${err}`);
  return out.trim();
}

const run = (...words: readonly string[]): Promise<string> =>
  must('run', '--network', 'none', '--cgroup-parent', `/${rig.sandbox.cgroup}`, ...words);
const background = (name: string, ...words: readonly string[]): Promise<string> =>
  run('--detach', '--name', name, '--volume', 'db:/data', IMAGE, ...words);
const once = (script: string): Promise<string> =>
  run('--rm', '--volume', 'db:/data', IMAGE, 'sh', '-c', script);
const create = (...more: readonly string[]): Promise<string> =>
  must('volume', 'create', '--driver', 'holdfast', '-o', 'size=64MiB', ...more, 'db');

before(async () => {
  if (options.skip !== undefined) return;
  rig = await ContainerRig.start('holdfast');
  const config = [
    '[engine]',
    'cgroup_manager = "cgroupfs"',
    'events_logger = "none"',
    '[engine.volume_plugins]',
    `holdfast = "${PLUGIN_DIRECTORY}/holdfast.sock"`,
  ];
  fs.writeFileSync(rig.at('containers.conf'), config.join('\n'));
  makeImage(rig.at('image.tar'));
  await must('import', rig.at('image.tar'), IMAGE);
});

after(async () => {
  await rig?.close();
});

/** Removes the containers and the volume, which must be free again. */
async function clean(...containers: readonly string[]): Promise<void> {
  if (containers.length > 0) await must('rm', '--force', '--time', '0', ...containers);
  assert.equal((await rig.inspect('db')).attachment, null);
  await must('volume', 'rm', 'db');
  assert.deepEqual(await rig.volumes(), []);
  await rig.api.delete('/v1/trash');
}

test('a volume is made, filled from the image, shared and removed', options, async () => {
  const refused = await podman('volume', 'create', '--driver', 'holdfast', '-o', 'fs=zfs', 'db');
  assert.notEqual(refused.code, 0, 'Podman looks at the status alone');
  assert.match(refused.err, /Cannot use option "fs": "zfs" is neither ext4 nor xfs/);
  await create('-o', 'tenant=acme');
  assert.equal(await run('--rm', '--volume', 'db:/seed', IMAGE, 'cat', '/seed/file'), SEED);
  await background('one', 'sh', '-c', WRITER);
  await background('two', 'sleep', '1000');
  await until(async () => (await podman('exec', 'two', 'cat', '/data/log')).code === 0);
  assert.equal((await rig.inspect('db')).owner.tenant, 'acme');
  assert.equal(await rig.holdersOf('db'), 1, 'Podman counts by itself');
  const removal = await podman('volume', 'rm', 'db');
  assert.match(removal.err, /being used/);
  const { err } = await rig.cli.run(['volume', 'unmount', 'db']);
  assert.match(err, /containers use it/);
  await must('rm', '--force', '--time', '0', 'one');
  await must('exec', 'two', 'sh', '-c', 'echo end >> /data/log');
  await clean('two');
});

test('prune takes only what its own plugin made, and that can be restored', options, async () => {
  await create();
  await once('echo dear > /data/file');
  await rig.api.post('/v1/volumes', { name: 'peoples', sizeBytes: 2 ** 26 });
  await must('volume', 'reload');
  assert.match(await must('volume', 'ls'), /peoples/, 'it knows them all');
  await background('keeper', 'sleep', '1000');
  await podman('volume', 'prune', '--force');
  assert.deepEqual(await rig.volumes(), ['db', 'peoples'], 'one is in use, one is not its own');
  await must('rm', '--force', '--time', '0', 'keeper');
  await podman('volume', 'prune', '--force');
  assert.deepEqual(await rig.volumes(), ['peoples']);
  await rig.cli.json('trash', 'restore', 'db');
  await must('volume', 'reload');
  assert.equal(await once('cat /data/file'), 'dear');
  await rig.api.delete('/v1/volumes/peoples');
  await clean();
});

test('a container writes on while engine and control are killed', options, async () => {
  await create();
  await background('writer', 'sh', '-c', WRITER);
  const count = async (): Promise<number> =>
    (await must('exec', 'writer', 'cat', '/data/log')).split('\n').length;
  await until(async () => (await podman('exec', 'writer', 'cat', '/data/log')).code === 0);
  for (const role of ['engine', 'control'] as const) {
    await rig.kill(role);
    const known = await count();
    await until(async () => (await count()) > known);
    assert.equal(await once('ls /data'), 'log', `nothing failed: ${role}`);
    assert.equal(await rig.holdersOf('db'), 1, role);
  }
  await clean('writer');
});
