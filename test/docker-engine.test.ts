/** Docker Engine on volumes of the plugin: containers, restarts of everybody, prune, many at once, PostgreSQL under kills of the engine. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { CommitClock } from '../src/tour/commit-clock.ts';
import { DatabaseLoad, compareDatabase, createTables } from '../src/tour/database-load.ts';
import { type Entry, Journal, readJournal } from '../src/tour/journal.ts';
import { Postgres, findPostgres, postgresUser } from '../src/tour/postgres.ts';
import { until } from './rigs/attach-rig.ts';
import { SEED, makeImage } from './rigs/container-image.ts';
import { ContainerRig, WRITER } from './rigs/container-rig.ts';
import { DockerEngine } from './rigs/docker-engine.ts';
import { needing } from './rigs/sandbox.ts';

const IMAGE = 'holdfast-test:1';
const postgres = findPostgres();
const options = needing('dockerd', 'docker', 'containerd', 'runc', 'ldd', 'tar');
const withPostgres = postgres === undefined ? { skip: 'PostgreSQL is not installed' } : options;
/** Created and removed at once; each has a container in the long form. */
const VOLUME_COUNT = 100;
const CONTAINER_COUNT = process.env['HOLDFAST_LONG'] === '1' ? 100 : 6;

let rig: ContainerRig;
let docker: DockerEngine;

const mounting = (volume: string, at = '/data'): readonly string[] =>
  `--network none --stop-timeout 0 --volume ${volume}:${at}`.split(' ');
/** A container in the background with `volume` at /data. */
const background = (name: string, volume: string, ...words: readonly string[]): Promise<string> =>
  docker.must('run', '-d', '--name', name, ...mounting(volume), IMAGE, ...words);
/** A container that runs `script` on `volume` and is gone; resolves with what it printed. */
const once = (volume: string, script: string): Promise<string> =>
  docker.must('run', '--rm', ...mounting(volume), IMAGE, 'sh', '-c', script);
const create = (name: string, ...more: readonly string[]): Promise<string> =>
  docker.must('volume', 'create', '-d', 'holdfast', '-o', 'size=64MiB', ...more, name);
const writerRuns = (name: string): Promise<void> =>
  until(async () => (await docker.run('exec', name, 'cat', '/data/log')).code === 0);

before(async () => {
  if (options.skip !== undefined) return;
  rig = await ContainerRig.start('holdfast');
  docker = new DockerEngine(rig.sandbox, rig.directory);
  await docker.start();
  const owner = postgres === undefined ? undefined : postgresUser();
  makeImage(
    rig.at('image.tar'),
    owner === undefined ? undefined : { files: postgresFiles(postgres ?? ''), owner },
  );
  await docker.must('import', rig.at('image.tar'), IMAGE);
});

after(async () => {
  await rig?.close();
});

/** Removes containers and volumes; what they used must be free again. */
async function clean(...volumes: readonly string[]): Promise<void> {
  const containers = await docker.must('ps', '--all', '--quiet');
  if (containers !== '') await docker.must('rm', '-f', ...containers.split('\n'));
  for (const name of volumes) assert.equal((await rig.inspect(name)).attachment, null, name);
  if (volumes.length > 0) await docker.must('volume', 'rm', ...volumes);
  assert.deepEqual(await rig.volumes(), []);
  await rig.api.delete('/v1/trash');
}

test('a volume is made, filled from the image, used, kept and removed', options, async () => {
  const refused = await docker.run('volume', 'create', '-d', 'holdfast', '-o', 'sise=1GiB', 'db');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /Cannot use option "sise": there is none, did you mean "size"\? Opt/);
  await create('db', '-o', 'label.tier=gold');
  await docker.must('run', '--rm', ...mounting('db', '/seed'), IMAGE, 'ls', '/seed');
  assert.equal(await once('db', 'cat /data/file; echo more >> /data/file'), SEED);
  assert.equal(await once('db', 'cat /data/file; ls /data'), `${SEED}more\nfile`);
  const [shown] = JSON.parse(await docker.must('volume', 'inspect', 'db'));
  assert.equal(shown.Driver, 'holdfast');
  assert.deepEqual((await rig.inspect('db')).labels, { tier: 'gold' });
  await rig.api.post('/v1/volumes', { name: 'peoples', sizeBytes: 2 ** 26 });
  assert.equal(await once('peoples', 'ls /data'), '', 'the volume of somebody else');
  const foreign = await docker.run('volume', 'rm', 'peoples');
  assert.match(foreign.err, /holdfast volume rm peoples removes it/);
  await rig.api.delete('/v1/volumes/peoples');
  await clean('db');
});

test('two containers share a volume, and nobody takes it from them', options, async () => {
  await create('db');
  await background('one', 'db', 'sh', '-c', WRITER);
  await background('two', 'db', 'sleep', '1000');
  await writerRuns('two');
  assert.equal(await rig.holdersOf('db'), 2);
  const removal = await docker.run('volume', 'rm', 'db');
  assert.match(removal.err, /volume is in use/);
  const { code, err } = await rig.cli.run(['volume', 'unmount', 'db']);
  assert.equal(code, 1);
  assert.match(err, /containers use it \(mount holdfast\/[0-9a-f]{12}, holdfast\//);
  const forced = await rig.cli.run(['volume', 'unmount', 'db', '--force', '--yes']);
  assert.match(forced.err, /Cannot unmount .*: process \d+ \(s\w+\)/, 'whatever the records say');
  const down = await rig.cli.run(['down']);
  assert.match(down.err, /process \d+ \(s\w+\)/, 'not under containers');
  assert.equal(await docker.must('exec', 'two', 'ls', '/data'), 'log', 'nothing has failed');
  await docker.must('rm', '-f', 'one');
  assert.equal(await rig.holdersOf('db'), 1);
  await docker.must('exec', 'two', 'sh', '-c', 'echo end >> /data/log');
  await clean('db');
});

test(
  'dockerd is killed and ended under containers: mounts are counted right',
  options,
  async () => {
    await create('db');
    await background('stays', 'db', 'sleep', '1000');
    await background('forgotten', 'db', 'sleep', '1000');
    assert.equal(await rig.holdersOf('db'), 2);
    await docker.end('SIGKILL');
    await docker.start();
    await docker.must('rm', '-f', 'forgotten');
    await docker.must('start', 'stays');
    await docker.must('exec', 'stays', 'sh', '-c', 'echo kept > /data/file');
    await docker.end('SIGTERM');
    await docker.start();
    await docker.must('start', 'stays');
    assert.equal(await docker.must('exec', 'stays', 'cat', '/data/file'), 'kept');
    await docker.must('rm', '-f', 'stays');
    assert.ok((await rig.holdersOf('db')) <= 1, 'what dockerd forgot in its crash');
    await docker.must('volume', 'rm', 'db');
    await clean();
  },
);

/** The numbers that the writer has written. */
async function written(): Promise<number[]> {
  return (await docker.must('exec', 'writer', 'cat', '/data/log')).split('\n').map(Number);
}

test('a container writes on while each process of Holdfast is killed', options, async () => {
  await create('db');
  await background('writer', 'db', 'sh', '-c', WRITER);
  await writerRuns('writer');
  for (const role of ['engine', 'control', 'supervisor'] as const) {
    await rig.kill(role);
    const { length } = await written();
    await until(async () => (await written()).length > length);
    assert.equal(await once('db', 'ls /data'), 'log', `nothing failed: ${role}`);
    assert.equal(await rig.holdersOf('db'), 1, role);
  }
  // Only the last one may not be synced yet.
  const known = (await written()).slice(0, -1);
  await rig.kill('attacher');
  await docker.must('restart', 'writer');
  assert.equal(await rig.holdersOf('db'), 1);
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
  const names = Array.from({ length: VOLUME_COUNT }, (_, index) => `many-${index}`);
  const wishes = names.map((Name) => ({ Name, Driver: 'holdfast', DriverOpts: { size: '16MiB' } }));
  const created = await Promise.all(
    wishes.map((wish) => docker.request('POST', '/volumes/create', wish)),
  );
  assert.deepEqual(new Set(created), new Set([201]));
  const used = names.slice(0, CONTAINER_COUNT);
  const said = await Promise.all(
    used.map((name) => once(name, `echo ${name} > /data/file; sync; cat /data/file`)),
  );
  assert.deepEqual(said, used);
  const removed = await Promise.all(
    names.map((name) => docker.request('DELETE', `/volumes/${name}`)),
  );
  assert.deepEqual(new Set(removed), new Set([204]));
  await clean();
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
  const program = (name: string): string => path.join(postgres ?? '', name);
  const user = postgresUser();
  const socket = rig.at('socket');
  fs.mkdirSync(socket);
  fs.chownSync(socket, user.uid, user.gid);
  // psql runs here, and reaches the container by its socket.
  const root = { name: 'root', uid: 0, gid: 0 };
  const client = new Postgres(postgres ?? '', root, { data: '', socket, log: rig.at('psql.log') });
  const run = (...words: readonly string[]): Promise<string> => {
    const as = ['--user', `${user.uid}:${user.gid}`, '--volume', `${socket}:/socket`];
    return docker.must('run', ...mounting('db', '/database'), ...as, ...words);
  };
  const start = async (name: string): Promise<void> => {
    const server = [program('postgres'), '-D', '/database', '-k', '/socket', '-h', ''];
    await run('-d', '--name', name, IMAGE, ...server);
    const ready = [program('pg_isready'), '-q', '-h', '/socket'];
    await until(async () => (await docker.run('exec', name, ...ready)).code === 0);
  };
  await docker.must('volume', 'create', '-d', 'holdfast', '-o', 'size=512MiB', 'db');
  const initdb = [program('initdb'), '-D', '/database', '-U', 'postgres', '-A', 'trust'];
  await run('--rm', IMAGE, ...initdb, '--locale=C', '--no-sync');
  await start('first');
  await createTables(client);
  const journal = await Journal.create(rig.at('journal'));
  const load = new DatabaseLoad(client, journal, new CommitClock(() => performance.now()));
  const running = load.run();
  const committed = (): Promise<Entry[]> => readJournal(rig.at('journal'));
  for (let kills = 1; kills <= 3; kills++) {
    await until(async () => (await committed()).length > kills * 10);
    await rig.kill('engine');
  }
  load.stop();
  await running;
  await journal.close();
  await docker.must('kill', 'first');
  await start('second');
  const { lost } = await compareDatabase(client, await committed());
  assert.deepEqual(lost, []);
  await clean('db');
});
