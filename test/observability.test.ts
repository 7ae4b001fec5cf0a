/** Metrics, events and explanations of a real installation, under what they are there for: load, rot, kills, a full and a missing drive. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { EventView } from '../src/control/event-schemas.ts';
import type { ExplanationView, StatusView } from '../src/control/schemas.ts';
import { CMD_FLUSH, CMD_READ, CMD_WRITE } from '../src/wire/nbd/constants.ts';
import type { NbdRawClient } from './nbd-raw-client.ts';
import { CliRig } from './rigs/cli-rig.ts';
import {
  clientOf,
  promtool,
  rotEverywhere,
  runPromtool,
  scrape,
  valueOf,
} from './rigs/monitoring.ts';

const BLOCK = 4096;
const ROTTEN_AT = 20 * BLOCK;
const pattern = Buffer.alloc(BLOCK, 'Holdfast rots here. ');
let rig: CliRig;
let socket: string;
let client: NbdRawClient;

before(async () => {
  rig = new CliRig();
  await rig.up();
  socket = path.join(fs.realpathSync(path.join(rig.data, 'run')), 'api.sock');
  await rig.json('volume', 'create', 'db', '--size', '64MiB', '--tenant', 'a "b"\\c');
  const { uri } = await rig.json('volume', 'attach', 'db', '--nbd');
  client = await clientOf(String(uri));
});

after(async () => {
  client.destroy();
  await rig.run(['down']);
  await rig.close();
});

async function ask(type: number, offset: number, data?: Buffer): Promise<number> {
  client.request({
    type,
    offset,
    ...(data === undefined ? { length: type === CMD_READ ? BLOCK : 0 } : { data }),
  });
  const reply = await client.reply();
  if (reply.kind === 'simple' && type === CMD_READ && reply.errno === 0)
    await client.receive(BLOCK);
  return reply.kind === 'simple' ? reply.errno : 0;
}

/** Tries until it is so: control looks every 2 s. */
async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return assert.fail(`in time: ${what}`);
}

const events = (...words: string[]): Promise<EventView[]> =>
  rig.json('events', ...words) as Promise<unknown> as Promise<EventView[]>;

const eventOf = (kind: string): Promise<EventView> =>
  until(async () => (await events()).findLast((event) => event.kind === kind), kind);

const explain = (): Promise<ExplanationView> =>
  rig.json('explain', 'volume', 'db') as Promise<unknown> as Promise<ExplanationView>;

const findingOf = (kind: string): Promise<ExplanationView['findings'][number]> =>
  until(async () => (await explain()).findings.find((each) => each.kind === kind), kind);

test('Prometheus takes the metrics, and they count what was asked for', promtool, async () => {
  for (let block = 0; block < 12; block++)
    assert.equal(await ask(CMD_WRITE, block * BLOCK, Buffer.alloc(BLOCK, block + 1)), 0);
  for (let block = 0; block < 5; block++) assert.equal(await ask(CMD_READ, block * BLOCK), 0);
  assert.equal(await ask(CMD_FLUSH, 0), 0);
  const text = await scrape(socket);
  assert.deepEqual(runPromtool(['check', 'metrics'], text), { status: 0, output: '' });
  const labels = (operation: string): string => `{volume="db",operation="${operation}"}`;
  for (const [series, value] of [
    [`holdfast_volume_operations_total${labels('write')}`, 12],
    [`holdfast_volume_operations_total${labels('read')}`, 5],
    [`holdfast_volume_operations_total${labels('flush')}`, 1],
    [`holdfast_volume_operations_total${labels('trim')}`, 0],
    [`holdfast_volume_operation_bytes_total${labels('write')}`, 12 * BLOCK],
    [`holdfast_volume_operation_bytes_total${labels('read')}`, 5 * BLOCK],
    [`holdfast_volume_operation_errors_total${labels('read')}`, 0],
    [`holdfast_volume_operation_duration_seconds_count${labels('write')}`, 12],
    [
      'holdfast_volume_operation_duration_seconds_bucket{volume="db",operation="write",le="+Inf"}',
      12,
    ],
    ['holdfast_volume_in_flight_operations{volume="db"}', 0],
    ['holdfast_volume_size_bytes{volume="db"}', 64 * 2 ** 20],
    ['holdfast_volume_allocated_bytes{volume="db"}', 65_536],
    ['holdfast_volume_attached{volume="db"}', 1],
    ['holdfast_drive_used_bytes{drive="default"}', 65_536],
    ['holdfast_drive_size_bytes{drive="default"}', 2 ** 30],
    ['holdfast_drive_state{drive="default",state="open"}', 1],
    ['holdfast_drive_checksum_errors_total{drive="default"}', 0],
    ['holdfast_drive_flushes_total{drive="default"}', 1],
    ['holdfast_process_up{process="engine"}', 1],
    ['holdfast_process_up{process="attacher"}', 1],
    ['holdfast_volumes', 1],
    ['holdfast_volumes_without_series', 0],
  ] as const) {
    assert.equal(valueOf(text, series), value, series);
  }
  assert.match(text, /holdfast_volume_info\{.*tenant="a \\"b\\"\\\\c"/);
  const positive = [
    'holdfast_drive_fdatasyncs_total{drive="default"}',
    'holdfast_drive_reserve_bytes{drive="default"}',
    `holdfast_volume_operation_duration_seconds_sum${labels('write')}`,
    ...['engine', 'control'].flatMap((role) => [
      `holdfast_process_event_loop_delay_seconds_count{process="${role}"}`,
      `holdfast_process_gc_pause_seconds_count{process="${role}"}`,
      `holdfast_process_cpu_seconds_total{process="${role}"}`,
    ]),
  ];
  await until(async () => {
    const now = await scrape(socket);
    return positive.every((series) => (valueOf(now, series) ?? 0) > 0) ? now : undefined;
  }, positive.join(', '));
});

test('what waits is the queue depth', async () => {
  const series = 'holdfast_volume_in_flight_operations{volume="db"}';
  const data = Buffer.alloc(16 * BLOCK, 7);
  let isOver = false;
  const load = (async () => {
    while (!isOver) {
      for (let count = 0; count < 16; count++)
        client.request({ type: CMD_WRITE, offset: (64 + 16 * count) * BLOCK, data });
      for (let count = 0; count < 16; count++) await client.reply();
    }
  })();
  await until(
    async () => ((valueOf(await scrape(socket), series) ?? 0) > 1 ? true : undefined),
    series,
  );
  isOver = true;
  await load;
  assert.equal(valueOf(await scrape(socket), series), 0);
});

test('all is well, and explain says so', async () => {
  assert.deepEqual(await explain(), { volume: 'db', isWell: true, findings: [] });
  assert.equal((await rig.run(['explain', 'volume', 'db'])).out, 'Volume "db" is well\n');
  const unknown = await rig.run(['explain', 'volume', 'bd']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /There is no volume "bd".*"db"/);
});

test('rot is counted in the drive, told as an event of the volume, and explained', async () => {
  assert.equal(await ask(CMD_WRITE, ROTTEN_AT, pattern), 0);
  assert.equal(await ask(CMD_FLUSH, 0), 0);
  const image = path.join(rig.data, 'drives', 'default.img');
  assert.ok(rotEverywhere(image, pattern.subarray(0, 64)) > 0, 'it is on the drive');
  assert.notEqual(await ask(CMD_READ, ROTTEN_AT), 0);
  const text = await scrape(socket);
  assert.equal(valueOf(text, 'holdfast_drive_checksum_errors_total{drive="default"}'), 1);
  assert.equal(
    valueOf(text, 'holdfast_volume_operation_errors_total{volume="db",operation="read"}'),
    1,
  );
  const event = await eventOf('drive.checksum_error');
  assert.equal(event.subject, 'volume/db');
  assert.match(event.what, new RegExp(`"db" met a block .*at byte ${ROTTEN_AT}`));
  assert.match(event.cause ?? '', /default\.img\) gave other bytes than were written/);
  for (let count = 0; count < 3; count++) assert.notEqual(await ask(CMD_READ, ROTTEN_AT), 0);
  const { chain, ends } = await findingOf('volume.checksum_errors');
  assert.match(chain.join('\n'), /reads of volume "db" end in EIO\ndrive "default" gave 4 blocks/);
  assert.match(ends, /drive check/);
  const told = (await events('--volume', 'db')).filter(
    ({ kind }) => kind === 'drive.checksum_error',
  );
  assert.equal(told.length, 1, 'once a minute');
  assert.match(
    fs.readFileSync(path.join(rig.data, 'log', 'engine.log'), 'utf8'),
    /drive\.checksum_error/,
  );
});

async function pidOf(role: string): Promise<number> {
  const { processes } = (await rig.json('status')) as unknown as StatusView;
  const pid = processes[role]?.pid ?? 0;
  assert.ok(pid > 1, role);
  return pid;
}

test('a killed engine is told with its cause, also to those who follow, and counted', async () => {
  const follower = rig.start(['events', '--follow', '--output', 'json']);
  let heard = '';
  follower.stdout?.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  const hears = (kind: string) => async () => (heard.includes(`"${kind}"`) ? true : undefined);
  // What was before is told first.
  await until(hears('drive.checksum_error'), 'what was before');
  process.kill(await pidOf('engine'), 'SIGKILL');
  await until(hears('engine.restarted'), 'what happens from then on');
  follower.kill();
  const ids = [...heard.matchAll(/^\{"id":"([^"]+)"/gm)].map(([, id]) => id);
  assert.ok(ids.length >= 2);
  assert.equal(new Set(ids).size, ids.length, 'each is told once');
  const event = await eventOf('engine.restarted');
  assert.equal(event.subject, 'process/engine');
  assert.match(event.cause ?? '', /^process \d+ was ended by SIGKILL$/);
  const text = await scrape(socket);
  assert.equal(valueOf(text, 'holdfast_process_restarts_total{process="engine"}'), 1);
  assert.match(
    fs.readFileSync(path.join(rig.data, 'log', 'supervisor.log'), 'utf8'),
    /"level":"warning","event":"process.exited".*"process":"engine".*SIGKILL/,
  );
  client.destroy();
  const { attachment } = await rig.json('volume', 'inspect', 'db');
  client = await clientOf((attachment as { uri: string }).uri);
});

test('an engine that hangs: I/O waits, what is wanted runs on, and both end with it', async () => {
  const pid = await pidOf('engine');
  process.kill(pid, 'SIGSTOP');
  const detach = rig.run(['volume', 'detach', 'db']);
  try {
    assert.equal((await eventOf('engine.away')).subject, 'process/engine');
    const { findings } = await explain();
    const [away, running] = ['engine.away', 'operation.running'].map((kind) =>
      findings.find((each) => each.kind === kind),
    );
    assert.match(
      away?.chain.join('\n') ?? '',
      /All I\/O of volume "db" waits.*\nthe engine does not answer/,
    );
    assert.match(away?.ends ?? '', /supervisor/);
    assert.ok(Date.parse(away?.since ?? '') <= Date.now(), 'it is told since when');
    assert.match(running?.chain.join('\n') ?? '', /"db" is detaching\noperation volume.detach/);
    assert.equal(valueOf(await scrape(socket), 'holdfast_process_up{process="engine"}'), 0);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  assert.equal((await detach).code, 0);
  await eventOf('engine.back');
  await until(async () => ((await explain()).isWell ? true : undefined), 'all is well again');
});

test('a full drive is told, explained, and over when there is room', async () => {
  await rig.json('drive', 'add', 'small', '--size', '256MiB', '--sparse');
  await rig.json('volume', 'create', 'big', '--size', '512MiB', '--drive', 'small');
  const { uri } = await rig.json('volume', 'attach', 'big', '--nbd');
  const filler = await clientOf(String(uri));
  const data = Buffer.alloc(2 ** 20, 5);
  let errno = 0;
  for (let at = 0; errno === 0; at += data.length) {
    filler.request({ type: CMD_WRITE, offset: at, data });
    const reply = await filler.reply();
    errno = reply.kind === 'simple' ? reply.errno : 0;
  }
  filler.destroy();
  const event = await eventOf('drive.full');
  assert.equal(event.subject, 'drive/small');
  const { findings } = (await rig.json('explain', 'volume', 'big')) as unknown as ExplanationView;
  assert.deepEqual(
    findings.map(({ kind }) => kind),
    ['drive.full', 'volume.io_errors'],
  );
  assert.match(findings[0]?.chain[1] ?? '', /"small" \(.*small\.img\) has .* free/);
  await rig.json('volume', 'detach', 'big');
  await rig.json('volume', 'rm', 'big', '--yes', '--now');
  assert.equal((await eventOf('drive.room')).subject, 'drive/small');
});

test('a drive that is not where it was faults its volumes until it is back', async () => {
  const image = path.join(rig.data, 'drives', 'default.img');
  await rig.json('down');
  fs.renameSync(image, `${image}.away`);
  await rig.json('up', '--detach');
  const { chain, ends } = await findingOf('drive.faulted');
  assert.match(
    chain.join('\n'),
    /"db" cannot be used\nits drive "default" .* is faulted\n.*there is no such file/,
  );
  assert.match(ends, /Put the drive back/);
  assert.equal((await eventOf('drive.faulted')).subject, 'drive/default');
  const text = await scrape(socket);
  assert.equal(valueOf(text, 'holdfast_drive_state{drive="default",state="faulted"}'), 1);
  await rig.json('down');
  fs.renameSync(`${image}.away`, image);
  await rig.json('up', '--detach');
  await eventOf('drive.recovered');
  const told = (await events()).filter(({ kind }) => kind === 'drive.faulted');
  assert.equal(told.length, 1, 'once, though control was started again');
});
