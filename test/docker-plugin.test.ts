/** The volume plugin by its protocol, without an engine of containers: what Docker and Podman send, what is refused, who holds a mount. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import { ApiProblem } from '../src/cli/api-client.ts';
import type { PluginView } from '../src/control/routes/docker-plugins.ts';
import type { VolumeView } from '../src/control/schemas.ts';
import { SqliteStore } from '../src/metadata/sqlite-store.ts';
import { until, whyNot } from './rigs/attach-rig.ts';
import { startRig } from './rigs/control-kills.ts';
import type { ControlRig } from './rigs/control-rig.ts';
import { AS_PODMAN, PluginClient } from './rigs/plugin-client.ts';

const MIB = 2 ** 20;
const MANY = process.env['HOLDFAST_LONG'] === '1' ? 100 : 10;
const withoutDevices = whyNot('mkfs.ext4');
const device = withoutDevices === undefined ? {} : { skip: withoutDevices };

let rig: ControlRig;
let plugin: PluginClient;
const socketOf = (name: string): string => path.join(rig.pluginDirectory, `${name}.sock`);
const enable = (name = 'holdfast'): Promise<PluginView> =>
  rig.api.put<PluginView>(`/v1/docker-plugins/${name}`, {});
const inspect = (name: string): Promise<VolumeView> =>
  rig.api.get<VolumeView>(`/v1/volumes/${name}`);

async function problemOf(request: Promise<unknown>): Promise<string> {
  try {
    await request;
  } catch (error) {
    if (error instanceof ApiProblem) return error.problem.code;
    throw error;
  }
  return 'it was not refused';
}

before(async () => {
  rig = await startRig();
  await enable();
  plugin = new PluginClient(socketOf('holdfast'));
});

beforeEach(async () => {
  for (const { name } of await rig.api.get<VolumeView[]>('/v1/volumes')) {
    await rig.api.delete(`/v1/volumes/${name}/mount?force=true`);
    await rig.api.delete(`/v1/volumes/${name}/attachment`);
    await rig.api.delete(`/v1/volumes/${name}?now=true`);
  }
});

after(async () => {
  await rig.close();
});

test('it says what it is, to Docker and to Podman', async () => {
  const asJson = { host: 'localhost', 'content-type': 'application/json' };
  const others = [AS_PODMAN, asJson].map(
    (headers) => new PluginClient(socketOf('holdfast'), headers),
  );
  for (const client of [plugin, ...others]) {
    const activated = await client.post('Plugin.Activate');
    assert.equal(activated.status, 200);
    assert.match(activated.mediaType, /^application\/vnd\.docker\.plugins\.v1\.1\+json/);
    assert.deepEqual(activated.body['Implements'], ['VolumeDriver']);
    const { Capabilities } = await client.call('Capabilities');
    assert.deepEqual(Capabilities, { Scope: 'local' });
    assert.deepEqual((await client.post('VolumeDriver.List')).body, { Volumes: [], Err: '' });
  }
  assert.equal((await plugin.post('VolumeDriver.Dance')).status, 404);
});

test('a call with an empty Host, as Docker writes it, is answered', async () => {
  const socket = net.connect(socketOf('holdfast'));
  const text =
    'POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n\r\n';
  socket.write(text);
  const [bytes] = await new Promise<[Buffer]>((resolve) => {
    socket.once('data', (data: Buffer) => resolve([data]));
  });
  socket.destroy();
  assert.match(bytes.toString(), /^HTTP\/1\.1 200 [^]*"VolumeDriver"/);
});

test('options become the volume; the same once more is the same volume', async () => {
  const Opts = {
    size: '64MiB',
    fs: 'xfs',
    drive: 'default',
    tenant: 'acme',
    group: 'shop',
    'label.tier': 'gold',
    'label.app': '',
  };
  await plugin.call('Create', { Name: 'db', Opts });
  await plugin.call('Create', { Name: 'db', Opts });
  await plugin.call('Create', { Name: 'db' });
  const made = await inspect('db');
  assert.equal(made.sizeBytes, 64 * MIB);
  assert.deepEqual(made.owner, { tenant: 'acme', group: 'shop' });
  assert.deepEqual(made.labels, { tier: 'gold', app: '' });
  assert.equal(made.createdBy, 'docker-plugin/holdfast');
  assert.deepEqual(await plugin.call('Get', { Name: 'db' }), {
    Volume: {
      Name: 'db',
      Mountpoint: '',
      CreatedAt: made.createdAt,
      Status: { sizeBytes: 64 * MIB, drive: 'default', fs: 'xfs', holders: [] },
    },
    Err: '',
  });
  assert.deepEqual(await plugin.call('Path', { Name: 'db' }), { Mountpoint: '', Err: '' });
  for (const [other, says] of [
    [{ size: '65MiB' }, /a size of 64 MiB/],
    [{ fs: 'ext4' }, /file system xfs/],
    [{ drive: 'other' }, /drive "default"/],
  ] as const) {
    assert.match(await plugin.refused('Create', { Name: 'db', Opts: other }), says);
  }
  await plugin.call('Remove', { Name: 'db' });
  await plugin.call('Remove', { Name: 'db' });
  assert.match(await plugin.refused('Get', { Name: 'db' }), /no volume "db"/);
});

test('a volume without options is thin, and has room', async () => {
  // What other tests removed counts as promised until the trash is emptied.
  await rig.api.delete('/v1/trash');
  await plugin.call('Create', { Name: 'plain', Opts: null });
  assert.equal((await inspect('plain')).sizeBytes, 10 * 1024 * MIB);
});

test('what cannot be is refused by status and by Err, with the way out, and makes nothing', async () => {
  const cases: readonly (readonly [call: string, content: object | string, says: RegExp])[] = [
    ['Create', { Name: 'v', Opts: { sise: '1GiB' } }, /"sise": there is none, did you mean "size"/],
    ['Create', { Name: 'v', Opts: { replicas: '2' } }, /Options are size, fs, drive/],
    ['Create', { Name: 'v', Opts: { size: 'much' } }, /"much": .*Write a size such as 10GiB/],
    ['Create', { Name: 'v', Opts: { size: '' } }, /"size": it is empty/],
    ['Create', { Name: 'v', Opts: { fs: 'zfs' } }, /"zfs" is neither ext4 nor xfs/],
    ['Create', { Name: 'v', Opts: { drive: 'none' } }, /no drive "none"/],
    ['Create', { Name: 'v', Opts: { 'label.': 'x' } }, /a key has 1 to 128/],
    ['Create', { Name: 'v', Opts: JSON.parse('{"label.__proto__":"x"}') }, /a key has 1 to 128/],
    ['Create', { Name: 'v', Opts: { tenant: 'x\u001B[31m\nOwner' } }, /no control characters/],
    ['Create', { Name: 'v', Opts: { group: 'x'.repeat(256) } }, /1 to 255 characters/],
    ['Create', { Name: 'v', Opts: { size: 5 } }, /size/],
    ['Create', { Name: '/etc', Opts: {} }, /must begin with a letter or a digit/],
    ['Create', { Name: 'a'.repeat(64), Opts: {} }, /at most 63/],
    ['Create', '', /Docker does so when it repeats a call/],
    ['Create', '{"Name":', /no JSON/],
    ['Create', '[]', /Cannot read the request/],
    ['Mount', { Name: 'nowhere', ID: '1' }, /no volume "nowhere"/],
    ['Mount', { ID: '1' }, /names no volume/],
    ['Mount', { Name: 'nowhere', ID: 'x'.repeat(256) }, /ID/],
    ['Unmount', { Name: 'nowhere', ID: '1' }, /no volume "nowhere"/],
    ['Path', { Name: 'nowhere' }, /no volume "nowhere"/],
    ['Get', { Name: 'nowhere' }, /no volume "nowhere"/],
    ['Get', `{"Name":"${'a'.repeat(70_000)}"}`, /too large/],
  ];
  for (const [call, content, says] of cases) {
    assert.match(await plugin.refused(call, content), says, JSON.stringify(content).slice(0, 80));
  }
  assert.deepEqual(await rig.api.get('/v1/volumes'), []);
});

test('a volume is removed only by the plugin that made it', async () => {
  await enable('other');
  const other = new PluginClient(socketOf('other'));
  await plugin.call('Create', { Name: 'dockers', Opts: { size: '64MiB' } });
  await rig.api.post('/v1/volumes', { name: 'peoples', sizeBytes: 64 * MIB });
  assert.match(await other.refused('Remove', { Name: 'dockers' }), /made by plugin "holdfast"/);
  assert.match(await plugin.refused('Remove', { Name: 'peoples' }), /holdfast volume rm peoples/);
  const { Volumes } = await other.call('List');
  const names = (Volumes as readonly { readonly Name: string }[]).map(({ Name }) => Name);
  assert.deepEqual(names, ['dockers', 'peoples'], 'all can be used');
  await plugin.call('Remove', { Name: 'dockers' });
  assert.deepEqual(await rig.api.delete('/v1/docker-plugins/other'), { removed: true });
  assert.deepEqual(await rig.api.delete('/v1/docker-plugins/other'), { removed: false });
  assert.ok(!fs.existsSync(socketOf('other')));
});

test('mounts are held by their ids; the last to go unmounts', device, async () => {
  await plugin.call('Create', { Name: 'db', Opts: { size: '64MiB' } });
  const { Mountpoint } = await plugin.call('Mount', { Name: 'db', ID: 'a' });
  const at = String(Mountpoint);
  assert.deepEqual(fs.readdirSync(at), [], 'a fresh volume is an empty folder');
  fs.writeFileSync(path.join(at, 'file'), 'kept');
  const again = await plugin.call('Mount', { Name: 'db', ID: 'a' });
  assert.equal(again['Mountpoint'], at, 'as Docker asks after its own crash');
  assert.equal((await plugin.call('Mount', { Name: 'db', ID: 'b' }))['Mountpoint'], at);
  assert.deepEqual((await inspect('db')).mount?.holders, ['holdfast/a', 'holdfast/b']);
  await plugin.call('Unmount', { Name: 'db', ID: 'unknown' });
  await plugin.call('Unmount', { Name: 'db', ID: 'a' });
  await plugin.call('Unmount', { Name: 'db', ID: 'a' });
  assert.equal((await plugin.call('Path', { Name: 'db' }))['Mountpoint'], at);
  assert.equal(fs.readFileSync(path.join(at, 'file'), 'utf8'), 'kept');
  await plugin.call('Unmount', { Name: 'db', ID: 'b' });
  assert.equal((await inspect('db')).attachment, null, 'nobody holds it');
  const podmans = new PluginClient(socketOf('holdfast'), AS_PODMAN);
  await podmans.call('Mount', { Name: 'db' });
  assert.deepEqual(fs.readdirSync(at), ['file'], 'a check makes no lost+found');
  assert.equal(fs.readFileSync(path.join(at, 'file'), 'utf8'), 'kept');
  await podmans.call('Unmount', { Name: 'db' });
  assert.equal((await inspect('db')).attachment, null, 'an id is not needed');
});

test('what an engine asks for is not of the request that enabled its plugin', async () => {
  const enableKeyed = () =>
    rig.api.put<object>('/v1/docker-plugins/keyed', {}, 'the-key-of-the-plugin');
  const first = await enableKeyed();
  await new PluginClient(socketOf('keyed')).call('Create', { Name: 'k', Opts: { size: '64MiB' } });
  assert.deepEqual(await enableKeyed(), first);
  await new PluginClient(socketOf('keyed')).call('Remove', { Name: 'k' });
  await rig.api.delete('/v1/docker-plugins/keyed');
});

test('many volumes are made, mounted, unmounted and removed at once', device, async () => {
  const names = Array.from({ length: MANY }, (_, index) => `many-${index}`);
  const each = (call: string, more: object): Promise<unknown[]> =>
    Promise.all(names.map((Name) => plugin.call(call, { Name, ...more })));
  await each('Create', { Opts: { size: '16MiB' } });
  const mounted = await each('Mount', { ID: 'a' });
  assert.equal(new Set(mounted.map((answer) => JSON.stringify(answer))).size, MANY);
  const { devices } = await rig.attacher.call('list', {});
  assert.equal((devices as unknown[]).length, MANY, 'all at the same time');
  await each('Unmount', { ID: 'a' });
  await each('Remove', {});
  assert.deepEqual((await plugin.call('List'))['Volumes'], []);
  await rig.api.delete('/v1/trash');
});

test('an engine that forgot a mount in a crash can remove the volume', device, async () => {
  await plugin.call('Create', { Name: 'db', Opts: { size: '64MiB' } });
  await plugin.call('Mount', { Name: 'db', ID: 'forgotten' });
  await enable('other');
  await new PluginClient(socketOf('other')).call('Mount', { Name: 'db', ID: 'b' });
  assert.match(await plugin.refused('Remove', { Name: 'db' }), /containers use it .*other\/b/);
  await new PluginClient(socketOf('other')).call('Unmount', { Name: 'db', ID: 'b' });
  await rig.api.delete('/v1/docker-plugins/other');
  await plugin.call('Remove', { Name: 'db' });
  assert.deepEqual(await rig.api.get('/v1/volumes'), []);
});

test('people and containers keep what the other mounted', device, async () => {
  await plugin.call('Create', { Name: 'db', Opts: { size: '64MiB' } });
  const mounted = await rig.api.put<VolumeView>('/v1/volumes/db/mount', {
    path: path.join(rig.directory, 'elsewhere'),
  });
  const { Mountpoint } = await plugin.call('Mount', { Name: 'db', ID: 'a' });
  assert.equal(Mountpoint, mounted.mount?.path, 'a container goes where it is');
  const other = { path: path.join(rig.directory, 'third') };
  const refusal = problemOf(rig.api.put('/v1/volumes/db/mount', other));
  assert.equal(await refusal, 'VOLUME_MOUNTED_OTHERWISE');
  for (const what of ['/mount', '/attachment', '']) {
    assert.equal(await problemOf(rig.api.delete(`/v1/volumes/db${what}`)), 'VOLUME_HELD', what);
  }
  await plugin.call('Unmount', { Name: 'db', ID: 'a' });
  assert.deepEqual((await inspect('db')).mount?.holders, ['api'], 'people hold it still');
  assert.match(await plugin.refused('Remove', { Name: 'db' }), /it is attached/);
  await plugin.call('Mount', { Name: 'db', ID: 'b' });
  const forced = await rig.api.delete<VolumeView>('/v1/volumes/db/mount?force=true');
  assert.equal(forced.mount, null, 'the way out where an engine is gone');
  await plugin.call('Unmount', { Name: 'db', ID: 'b' });
  await rig.api.put('/v1/volumes/db/attachment', { as: 'nbd' });
  assert.match(await plugin.refused('Mount', { Name: 'db', ID: 'c' }), /attached as an NBD socket/);
});

/** A process with a mount namespace of its own, as a container has one: it writes a file below `at` when told. */
async function startContainer(at: string) {
  // Private is the mount that it is about, and nothing that other tests have mounted.
  const script = `mount --make-private "$0"; echo started; read words; printf %s "$words" > "$0/container"; read rest`;
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, at],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  return {
    write: (words: string) => child.stdin.write(`${words}\n`),
    end: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

test('what another mount namespace has mounted is not taken from it', device, async () => {
  await plugin.call('Create', { Name: 'db', Opts: { size: '64MiB' } });
  const { Mountpoint } = await plugin.call('Mount', { Name: 'db', ID: 'a' });
  const container = await startContainer(String(Mountpoint));
  assert.match(await plugin.refused('Remove', { Name: 'db' }), /process \d+ \(sh\) uses it/);
  assert.deepEqual((await inspect('db')).mount?.holders, ['holdfast/a'], 'held as before');
  const busy = await plugin.refused('Unmount', { Name: 'db', ID: 'a' });
  assert.match(busy, /Cannot unmount .*: process \d+ \(sh\) uses it/);
  const { problems } = await rig.api.post<{ problems: string[] }>('/v1/release', {});
  assert.match(problems.join(), /uses it/);
  container.write('written meanwhile');
  await container.end();
  const { mount } = await inspect('db');
  assert.deepEqual([mount?.state, mount?.holders], ['mounted', []]);
  const file = path.join(String(Mountpoint), 'container');
  assert.equal(fs.readFileSync(file, 'utf8'), 'written meanwhile');
  await plugin.call('Remove', { Name: 'db' });
});

test('containers of before a restart of the machine hold nothing', device, async () => {
  for (const Name of ['theirs', 'ours']) {
    await plugin.call('Create', { Name, Opts: { size: '64MiB' } });
    await plugin.call('Mount', { Name, ID: 'a' });
  }
  await rig.api.put('/v1/volumes/ours/mount', {});
  await rig.kill('control');
  await rewriteVolumes((volume) => ({
    ...volume,
    mount: { ...(volume['mount'] as object), bootId: 'an earlier one' },
  }));
  await rig.startControl();
  assert.equal((await inspect('theirs')).attachment, null);
  assert.deepEqual((await inspect('ours')).mount?.holders, ['api']);
  await plugin.call('Mount', { Name: 'theirs', ID: 'b' });
});

/** Changes the volumes' records, as a restart of the machine would have them look. */
async function rewriteVolumes(
  change: (volume: Record<string, unknown>) => Record<string, unknown>,
): Promise<void> {
  const store = new SqliteStore({
    path: path.join(rig.installation.directory, 'state.db'),
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => 'test',
  });
  const { entries } = await store.list('volume/');
  const puts = entries.map(({ key, value }) => ({
    key,
    value: JSON.parse(JSON.stringify(change(value as Record<string, unknown>))),
  }));
  await store.transact({ conditions: [], puts, deletes: [] });
  await store.close();
}

async function listen(socketPath: string): Promise<net.Server> {
  const server = net.createServer();
  server.listen(socketPath);
  await once(server, 'listening');
  return server;
}

test('sockets: for root alone, back after a crash, not taken from others, gone in the end', async (t) => {
  const socket = socketOf('holdfast');
  assert.equal(fs.statSync(socket).mode & 0o777, 0o600);
  const [known] = await rig.api.get<PluginView[]>('/v1/docker-plugins');
  assert.deepEqual(known, { name: 'holdfast', socket, state: 'listening', reason: null });
  await rig.kill('control');
  assert.ok(fs.existsSync(socket), 'left by the dead process');
  await rig.startControl();
  assert.deepEqual((await plugin.call('List'))['Volumes'], []);

  const theirs = await listen(socketOf('theirs'));
  t.after(() => theirs.close());
  fs.writeFileSync(socketOf('file'), 'dear');
  assert.equal(await problemOf(enable('theirs')), 'PLUGIN_SOCKET');
  assert.equal(await problemOf(enable('file')), 'PLUGIN_SOCKET');
  assert.equal(await problemOf(enable('_up')), 'NAME_INVALID');
  assert.equal(fs.readFileSync(socketOf('file'), 'utf8'), 'dear');
  fs.rmSync(socketOf('file'));

  await rig.kill('control');
  fs.rmSync(socket);
  theirs.close();
  const thief = await listen(socket);
  t.after(() => thief.close());
  await rig.startControl();
  const [away] = await rig.api.get<PluginView[]>('/v1/docker-plugins');
  assert.equal(away?.state, 'away');
  assert.match(String(away?.reason), /something that runs has it/);
  thief.close();
  await once(thief, 'close');
  await enable();
  assert.deepEqual((await plugin.call('List'))['Volumes'], []);

  await rig.api.delete('/v1/docker-plugins/holdfast');
  await until(() => !fs.existsSync(rig.pluginDirectory));
});
