/** Docker Engine on volumes of the plugin: containers, restarts of everybody, prune, many at once, PostgreSQL under kills of the engine. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { DatabaseLoad, compareDatabase, createTables } from '../src/tour/database-load.ts';
import { CommitClock } from '../src/tour/commit-clock.ts';
import { Journal, readJournal } from '../src/tour/journal.ts';
import { Postgres, findPostgres, postgresUser } from '../src/tour/postgres.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { SEED, makeImage } from './rigs/container-image.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';
import { DockerEngine } from './rigs/docker-engine.ts';
import { Sandbox, needing } from './rigs/sandbox.ts';

const IMAGE = 'holdfast-test:1';
const postgres = findPostgres();
const options = needing('dockerd', 'docker', 'containerd', 'runc', 'ldd', 'tar');
const withPostgres = postgres === undefined ? { skip: 'PostgreSQL is not installed' } : options;
/** A container in each; FUSE has 64 places. */
const PARALLEL_CONTAINERS = process.env['HOLDFAST_LONG'] === '1' ? 60 : 6;
const PARALLEL_VOLUMES = 100;

/** Counts in a file, each number synced before the next; a failure stands in another. */
const WRITER =
  'i=0; while :; do i=$((i+1)); { echo $i >> /data/log && sync /data/log; } || echo $i >> /data/failed; sleep 0.02; done';

let rig: CliRig;
let sandbox: Sandbox;
let docker: DockerEngine;

const inspect = async (name: string): Promise<VolumeView> =>
  (await rig.json('volume', 'inspect', name)) as unknown as VolumeView;
const holdersOf = async (name: string): Promise<number> =>
  (await inspect(name)).mount?.holders.length ?? 0;

/** A container in the background with `volume` at /data. */
const background = (name: string, volume: string, ...words: readonly string[]): Promise<string> =>
  docker.must('run', '-d', '--name', name, ...mounting(volume), IMAGE, ...words);
/** A container that runs `script` on `volume` and is gone; resolves with what it printed. */
const once = (volume: string, script: string): Promise<string> =>
  docker.must('run', '--rm', ...mounting(volume), IMAGE, 'sh', '-c', script);
const mounting = (volume: string): readonly string[] => [
  '--network',
  'none',
  '-v',
  `${volume}:/data`,
];
const create = (name: string, ...more: readonly string[]): Promise<string> =>
  docker.must('volume', 'create', '-d', 'holdfast', '-o', 'size=64MiB', ...more, name);

before(async () => {
  if (options.skip !== undefined) return;
  await sweepEarlierTests();
  rig = new CliRig();
  sandbox = await Sandbox.start(rig.pluginDirectory);
  rig.sandbox = sandbox;
  docker = new DockerEngine(sandbox, rig.directory);
  const tar = path.join(rig.directory, 'image.tar');
  makeImage(
    tar,
    postgres === undefined ? undefined : { files: postgresFiles(postgres), owner: postgresUser() },
  );
  await Promise.all([rig.up(), docker.start()]);
  await Promise.all([rig.json('docker', 'enable'), docker.must('import', tar, IMAGE)]);
});

after(async () => {
  if (options.skip !== undefined) return;
  await docker.end('SIGKILL');
  await sandbox.close();
  rig.sandbox = undefined;
  await rig.close();
});

/** Removes containers and volumes; what they used must be free again. */
async function clean(...volumes: readonly string[]): Promise<void> {
  const containers = await docker.must('ps', '--all', '--quiet');
  if (containers !== '') await docker.must('rm', '-f', ...containers.split('\n'));
  for (const name of volumes) assert.equal((await inspect(name)).attachment, null, name);
  if (volumes.length > 0) await docker.must('volume', 'rm', ...volumes);
  await rig.json('trash', 'empty', '--yes');
}

test('a volume is made, filled from the image, used, kept and removed', options, async () => {
  const refused = await docker.run('volume', 'create', '-d', 'holdfast', '-o', 'sise=1GiB', 'db');
  assert.equal(refused.code, 1);
  assert.match(
    refused.err,
    /Cannot use option "sise": there is none, did you mean "size"\? Options are/,
  );
  await create('db', '-o', 'label.tier=gold');
  await docker.must('run', '--rm', '--network', 'none', '-v', 'db:/seed', IMAGE, 'ls', '/seed');
  assert.equal(await once('db', 'cat /data/file; echo more >> /data/file'), SEED);
  assert.equal(await once('db', 'cat /data/file; ls /data'), `${SEED}more\nfile`);
  const [shown] = JSON.parse(await docker.must('volume', 'inspect', 'db'));
  assert.equal(shown.Driver, 'holdfast');
  assert.deepEqual((await inspect('db')).labels, { tier: 'gold' });
  await rig.json('volume', 'create', 'peoples', '--size', '64MiB');
  assert.equal(await once('peoples', 'ls /data'), '', 'the volume of somebody else');
  const foreign = await docker.run('volume', 'rm', 'peoples');
  assert.match(foreign.err, /holdfast volume rm peoples removes it/);
  await clean('db');
  await rig.json('volume', 'rm', 'peoples', '--yes');
});

test('two containers share a volume, and nobody takes it from them', options, async () => {
  await create('db');
  await background('one', 'db', 'sh', '-c', WRITER);
  await background('two', 'db', 'sleep', '1000');
  await until(async () => (await docker.run('exec', 'two', 'cat', '/data/log')).code === 0);
  assert.equal(await holdersOf('db'), 2);
  const removal = await docker.run('volume', 'rm', 'db');
  assert.match(removal.err, /volume is in use/);
  for (const words of [
    ['volume', 'unmount'],
    ['volume', 'detach'],
    ['volume', 'rm', '--yes'],
  ]) {
    const { code, err } = await rig.run([...words, 'db']);
    assert.equal(code, 1);
    assert.match(err, /containers use it \(mount holdfast\/[0-9a-f]{12}, holdfast\//);
  }
  const down = await rig.run(['down']);
  assert.match(down.err, /uses it/, 'not under containers');
  assert.equal(await docker.must('exec', 'two', 'sh', '-c', 'ls /data'), 'log');
  await docker.must('rm', '-f', 'one');
  assert.equal(await holdersOf('db'), 1);
  await docker.must('exec', 'two', 'sh', '-c', 'echo end >> /data/log');
  await clean('db');
});

test(
  'dockerd is killed and ended under containers: mounts are counted right',
  options,
  async () => {
    await create('db');
    await background('ends', 'db', 'sleep', '1000');
    await docker.must('update', '--restart', 'always', 'ends');
    await background('forgotten', 'db', 'sleep', '1000');
    assert.equal(await holdersOf('db'), 2);
    await docker.end('SIGKILL');
    await docker.start();
    await docker.must('rm', '-f', 'forgotten');
    await docker.must('exec', 'ends', 'sh', '-c', 'echo kept > /data/file');
    await docker.must('stop', '--time', '0', 'ends');
    await docker.end('SIGTERM');
    await docker.start();
    await docker.must('start', 'ends');
    assert.equal(await docker.must('exec', 'ends', 'cat', '/data/file'), 'kept');
    await docker.must('rm', '-f', 'ends');
    // What dockerd forgot in its crash is in nobody's way.
    await docker.must('volume', 'rm', 'db');
    assert.deepEqual(await rig.json('volume', 'ls'), []);
    await rig.json('trash', 'empty', '--yes');
  },
);

/** Kills a process of Holdfast and waits until another does its work. */
async function kill(role: string): Promise<void> {
  const { processes } = (await rig.json('status')) as unknown as StatusView;
  const { pid, restarts } = processes[role]!;
  await sandbox.run('kill', '-KILL', String(pid));
  if (role === 'supervisor') await rig.json('up', '--detach');
  await until(async () => {
    const ended = await rig.run(['status', '--output', 'json']);
    if (ended.code !== 0) return false;
    const now: StatusView = JSON.parse(ended.out);
    const isNew = now.processes[role]?.pid !== pid || now.processes[role]?.restarts !== restarts;
    return isNew && Object.values(now.processes).every(({ state }) => state === 'running');
  });
}

/** The numbers that the writer has written. */
async function written(): Promise<number[]> {
  return (await docker.must('exec', 'writer', 'cat', '/data/log')).split('\n').map(Number);
}

test('a container writes on while each process of Holdfast is killed', options, async () => {
  await create('db');
  await background('writer', 'db', 'sh', '-c', WRITER);
  await until(async () => (await docker.run('exec', 'writer', 'cat', '/data/log')).code === 0);
  for (const role of ['engine', 'control', 'supervisor']) {
    await kill(role);
    const { length } = await written();
    await until(async () => (await written()).length > length);
    assert.equal(await once('db', 'ls /data'), 'log', `nothing failed: ${role}`);
    assert.equal(await holdersOf('db'), 1, role);
  }
  const known = await written();
  await kill('attacher');
  await docker.must('restart', '--time', '0', 'writer');
  assert.equal(await holdersOf('db'), 1);
  assert.deepEqual((await written()).slice(0, known.length), known, 'what was synced is there');
  await clean('db');
});

test('prune leaves volumes alone', options, async () => {
  await create('db');
  await once('db', 'echo dear > /data/file');
  await docker.must('volume', 'prune', '--force');
  await docker.must('system', 'prune', '--force', '--volumes');
  assert.equal(await once('db', 'cat /data/file'), 'dear');
  await clean('db');
});

test('a hundred volumes at once', options, async () => {
  const names = Array.from({ length: PARALLEL_VOLUMES }, (_, index) => `many-${index}`);
  const created = await Promise.all(
    names.map((Name) =>
      docker.request('POST', '/volumes/create', {
        Name,
        Driver: 'holdfast',
        DriverOpts: { size: '16MiB' },
      }),
    ),
  );
  assert.ok(
    created.every((status) => status === 201),
    created.join(),
  );
  const used = names.slice(0, PARALLEL_CONTAINERS);
  const said = await Promise.all(
    used.map((name) => once(name, `echo ${name} > /data/file; sync; cat /data/file`)),
  );
  assert.deepEqual(said, used);
  const removed = await Promise.all(
    names.map((name) => docker.request('DELETE', `/volumes/${name}`)),
  );
  assert.ok(
    removed.every((status) => status === 204),
    removed.join(),
  );
  await clean();
  assert.deepEqual(await rig.json('volume', 'ls'), []);
});

/** The programs of PostgreSQL and what they read, without its compiler of queries. */
function postgresFiles(programs: string): string[] {
  const version = path.basename(path.dirname(programs));
  const libraries = path.join(path.dirname(programs), 'lib');
  return [
    ...['postgres', 'initdb', 'pg_isready'].map((name) => path.join(programs, name)),
    ...fs
      .readdirSync(libraries)
      .filter((name) => name.endsWith('.so') && !name.includes('jit'))
      .map((name) => path.join(libraries, name)),
    `/usr/share/postgresql/${version}`,
    '/usr/share/zoneinfo',
  ];
}

test('PostgreSQL in a container outlives kills of the engine', withPostgres, async () => {
  const programs = postgres ?? '';
  const user = postgresUser();
  const socket = path.join(rig.directory, 'socket');
  fs.mkdirSync(socket);
  fs.chownSync(socket, user.uid, user.gid);
  // psql runs here, and reaches the container by its socket.
  const client = new Postgres(
    programs,
    { name: 'root', uid: 0, gid: 0 },
    {
      data: '',
      socket,
      log: path.join(rig.directory, 'psql.log'),
    },
  );
  const run = (...words: readonly string[]): Promise<string> => {
    const as = ['--user', `${user.uid}:${user.gid}`];
    return docker.must('run', '--network', 'none', '-v', 'db:/database', ...as, ...words);
  };
  const start = async (name: string): Promise<void> => {
    const server = [path.join(programs, 'postgres'), '-D', '/database', '-k', '/socket', '-h', ''];
    await run('-d', '--name', name, '-v', `${socket}:/socket`, IMAGE, ...server);
    const ready = [path.join(programs, 'pg_isready'), '-q', '-h', '/socket'];
    await until(async () => (await docker.run('exec', name, ...ready)).code === 0);
  };
  await docker.must('volume', 'create', '-d', 'holdfast', '-o', 'size=512MiB', 'db');
  const initdb = [
    path.join(programs, 'initdb'),
    '-D',
    '/database',
    '-U',
    'postgres',
    '-A',
    'trust',
  ];
  await run('--rm', IMAGE, ...initdb, '--locale=C');
  await start('first');
  await createTables(client);
  const journal = await Journal.create(path.join(rig.directory, 'journal'));
  const clock = new CommitClock(() => performance.now());
  const load = new DatabaseLoad(client, journal, clock);
  const running = load.run();
  for (let kills = 0; kills < 3; kills++) await kill('engine');
  load.stop();
  await running;
  await journal.close();
  await docker.must('kill', 'first');
  await start('second');
  const committed = await readJournal(path.join(rig.directory, 'journal'));
  const { lost, found } = await compareDatabase(client, committed);
  assert.deepEqual(lost, []);
  assert.ok(found >= committed.length && committed.length > 20, `${committed.length} commits`);
  await clean('db');
});
