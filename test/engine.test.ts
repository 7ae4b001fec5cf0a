/** The engine's process and its calls: each twice, in every wrong way, and across its deaths. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { LineClient } from '../src/control/line-client.ts';
import { Refusal } from '../src/model/errors.ts';
import { type JsonObject, LINE_PROTOCOL_VERSION } from '../src/wire/line-protocol.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { EngineProcess } from './rigs/engine-process.ts';

const MIB = 1024 * 1024;
const DRIVE = '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11';
const VOLUME = '11111111-2222-3333-4444-555555555555';
const OTHER = '22222222-2222-3333-4444-555555555555';
const ATTACH = 'a7'.repeat(16);
const engine = new EngineProcess();
const drive = { driveId: DRIVE, path: join(engine.folder, 'd.img') };
const volume = { driveId: DRIVE, uuid: VOLUME, sizeBytes: 64 * MIB };
const attachment = { uuid: VOLUME, attachId: ATTACH, epoch: 3 };

before(() => engine.start());
after(() => engine.remove());

/** Makes a call twice; the second time is to change nothing. */
async function twice(name: string, args: JsonObject): Promise<JsonObject> {
  const first = await engine.call(name, args);
  assert.deepEqual(await engine.call(name, args), first, `${name} again`);
  return first;
}

async function refused(code: string, name: string, args: JsonObject = {}): Promise<void> {
  await assert.rejects(
    engine.call(name, args),
    (error) => error instanceof Refusal && error.code === code,
    `${name} ${JSON.stringify(args)} is ${code}`,
  );
}

async function attach(): Promise<NbdRawClient> {
  return NbdRawClient.attach(join(engine.folder, 'run', 'nbd', `${ATTACH}.sock`), { name: ATTACH });
}

test('drives and volumes are made once, however often they are asked for', async () => {
  await twice('drive.format', { ...drive, sizeBytes: 512 * MIB, sparse: true });
  const opened = await twice('drive.open', drive);
  assert.equal(opened['state'], 'open');
  const made = await twice('volume.create', volume);
  assert.equal(made['state'], 'idle');
  await twice('volume.create', { ...volume, uuid: OTHER });
  await twice('volume.resize', { uuid: OTHER, sizeBytes: 128 * MIB });
  const served = await twice('volume.attach', attachment);
  assert.equal(served['exportName'], ATTACH);
  await twice('volume.delete', { uuid: OTHER });
  const { volumes, more } = await engine.call('volume.list');
  assert.ok(Array.isArray(volumes) && volumes.length === 1 && more === false);
  assert.equal(volumes[0].state, 'attached');
  assert.equal(volumes[0].epoch, 3);
});

test('what clients ask of a volume is counted, and told with the volume and by itself', async () => {
  const client = await attach();
  await client.write(0, Buffer.alloc(8192, 1));
  await client.write(8192, Buffer.alloc(4096, 2));
  await client.read(0, 4096);
  client.destroy();
  const { changes, countedSinceMs } = await engine.call('volume.status', { uuid: VOLUME });
  assert.equal(changes, 2);
  assert.ok(Number(countedSinceMs) > Date.now() - 60_000);
  await refused('VOLUME_NOT_FOUND', 'volume.status', { uuid: OTHER });
  const { meters, more } = await engine.call('volume.meters');
  assert.ok(Array.isArray(meters) && meters.length === 1 && more === false);
  const [{ uuid, inFlight, write: writes, read: reads, flush }] = meters;
  assert.deepEqual([uuid, inFlight], [VOLUME, 0]);
  assert.deepEqual([writes.count, writes.bytes, writes.errors], [2, 12_288, 0]);
  assert.deepEqual([reads.count, reads.bytes, flush.count], [1, 4096, 0]);
  assert.deepEqual(await engine.call('volume.meters', { after: VOLUME }), {
    meters: [],
    more: false,
  });
});

test('an engine without file descriptors refuses what needs one, and does it once it has them', async () => {
  const limit = (count: string): Buffer =>
    execFileSync('prlimit', ['--pid', String(engine.pid), `--nofile=${count}`]);
  const [, soft = ''] =
    /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${engine.pid}/limits`, 'utf8')) ?? [];
  const wanted = { uuid: OTHER, attachId: 'c7'.repeat(16), epoch: 1 };
  await engine.call('volume.create', { ...volume, uuid: OTHER });
  limit('3:');
  await refused('DESCRIPTORS_EXHAUSTED', 'volume.attach', wanted);
  limit(`${soft}:`);
  await engine.call('volume.attach', wanted);
  await engine.call('volume.detach', wanted);
  await engine.call('volume.delete', { uuid: OTHER });
});

test('what cannot be done is refused by name, and nothing has changed', async () => {
  await refused('INPUT_INVALID', 'volume.format');
  await refused('INPUT_INVALID', 'volume.create', { ...volume, uuid: 'x' });
  await refused('INPUT_INVALID', 'volume.create', { ...volume, sizeBytes: -1 });
  await refused('INPUT_INVALID', 'drive.open', { driveId: '../x', path: drive.path });
  await refused('INPUT_INVALID', 'drive.open', { driveId: DRIVE, path: 'relative' });
  await refused('INPUT_INVALID', 'volume.attach', { ...attachment, attachId: 'A7' });
  await refused('INPUT_INVALID', 'volume.attach', { ...attachment, epoch: 2 ** 32 });
  await refused('SIZE_INVALID', 'volume.create', { ...volume, uuid: OTHER, sizeBytes: 5000 });
  await refused('DRIVE_NOT_FOUND', 'volume.create', { ...volume, uuid: OTHER, driveId: 'none' });
  await refused('DRIVE_EXISTS', 'drive.open', { ...drive, path: '/nowhere' });
  await refused('DRIVE_PATH_USED', 'drive.open', { ...drive, driveId: 'second' });
  await refused('DRIVE_IN_USE', 'drive.close', { driveId: DRIVE });
  await refused('VOLUME_EXISTS', 'volume.create', { ...volume, sizeBytes: 65 * MIB });
  await refused('VOLUME_NOT_FOUND', 'volume.attach', { ...attachment, uuid: OTHER });
  await refused('VOLUME_ATTACHED', 'volume.delete', { uuid: VOLUME });
  await refused('VOLUME_SHRINK', 'volume.resize', { uuid: VOLUME, sizeBytes: MIB });
  await refused('EPOCH_STALE', 'volume.attach', { ...attachment, epoch: 2 });
  const other = { ...attachment, attachId: 'b7'.repeat(16), epoch: 4 };
  await refused('VOLUME_ATTACHED_OTHERWISE', 'volume.attach', other);
  assert.deepEqual(await engine.call('volume.detach', other), {}, 'what is not there is detached');
  assert.deepEqual(await engine.call('drive.close', { driveId: 'none' }), {});
  const { volumes } = await engine.call('volume.list');
  assert.ok(Array.isArray(volumes) && volumes[0].attachId === ATTACH && volumes[0].epoch === 3);
});

test('a client without hello, with another protocol or with garbage is told or ended', async () => {
  const say = async (text: string): Promise<string> => {
    const socket = net.connect(engine.socketPath);
    let answer = '';
    socket.on('data', (bytes) => {
      answer += String(bytes);
      if (answer.endsWith('\n')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.write(text);
    // A reset is an end like any other.
    await new Promise((resolve) => socket.once('close', resolve));
    return answer;
  };
  assert.match(await say('{"id":1,"call":"drive.list"}\n'), /INPUT_INVALID.*hello/);
  assert.match(await say('{"id":1,"call":"hello","args":{"protocol":2}}\n'), /PROTOCOL_VERSION/);
  assert.equal(await say('garbage\n'), '');
  assert.equal(await say('x'.repeat(70_000)), '');
  assert.equal((await engine.call('stats'))['pid'], engine.pid);
});

test('its buffers are locked in memory, or it says why not', async () => {
  const { warnings } = await engine.call('hello', { protocol: 1 });
  const status = readFileSync(`/proc/${engine.pid ?? 0}/status`, 'utf8');
  const lockedKib = Number(/^VmLck:\s*(\d+)/m.exec(status)?.[1]);
  assert.ok(lockedKib > 0 || String(warnings).includes('mlock2'), status);
});

test('SIGKILL loses nothing acknowledged, and the next life serves the volume by itself', async () => {
  const data = Buffer.alloc(300_000, 'acknowledged');
  const client = await attach();
  await client.write(12_345, data);
  engine.listDrives([drive]);
  assert.equal(await engine.end('SIGKILL'), 'SIGKILL');
  assert.equal((await client.untilEnd()).length, 0);
  await engine.start();
  const again = await attach();
  assert.ok((await again.read(12_345, data.length)).equals(data));
  again.destroy();
});

test('SIGTERM ends in order: drives are clean, records keep the attachment', async () => {
  const client = await attach();
  await client.write(0, Buffer.from('before the end'));
  assert.equal(await engine.end('SIGTERM'), 0);
  assert.equal((await client.untilEnd()).length, 0);
  assert.match(engine.log, /"drive.closed"/);
  assert.ok(!existsSync(engine.socketPath), 'its sockets are gone');
  await engine.start();
  const { drives } = await engine.call('drive.list');
  assert.ok(Array.isArray(drives) && drives[0].recovery.redoneBlocks === 0);
  const again = await attach();
  assert.equal(String(await again.read(0, 14)), 'before the end');
  again.destroy();
});

test('drives may be opened and closed, and fail to open, any number of times', async () => {
  const empty = join(engine.folder, 'empty.img');
  writeFileSync(empty, Buffer.alloc(8 * MIB));
  const extra = { driveId: 'extra', path: join(engine.folder, 'extra.img') };
  await engine.call('drive.format', { ...extra, sizeBytes: 512 * MIB, sparse: true });
  for (let round = 0; round < 40; round += 1) {
    await refused('DRIVE_CORRUPT', 'drive.open', { driveId: 'empty', path: empty });
    await refused('PATH_INVALID', 'drive.open', { driveId: 'none', path: '/nowhere/drive.img' });
    const opened = await engine.call('drive.open', extra);
    assert.equal(opened['state'], 'open');
    await engine.call('drive.close', { driveId: 'extra' });
  }
  const client = await attach();
  assert.equal(String(await client.read(0, 14)), 'before the end');
  client.destroy();
});

test('a drive that is another, or that another node has taken over, is not opened; nothing of it is changed', async () => {
  const id = '33333333-2222-3333-4444-555555555555';
  const moved = { driveId: id, path: join(engine.folder, 'moved.img') };
  await engine.call('drive.format', { ...moved, sizeBytes: 512 * MIB, sparse: true });
  const identified = await twice('drive.identify', { path: moved.path });
  assert.deepEqual(identified, {
    driveUuid: id.replaceAll('-', ''),
    generation: 0,
    incarnation: 0,
  });
  await refused('DRIVE_ANOTHER', 'drive.open', { ...moved, driveId: OTHER });
  await refused('INPUT_INVALID', 'drive.open', { ...moved, generation: -1 });
  await engine.call('drive.open', { ...moved, generation: 1 });
  await refused('DRIVE_BUSY', 'drive.identify', { path: moved.path });
  await engine.call('drive.close', { driveId: id });
  await refused('DRIVE_TAKEN_OVER', 'drive.open', moved);
  const { generation, incarnation } = await engine.call('drive.identify', { path: moved.path });
  assert.deepEqual([generation, incarnation], [1, 1]);
  await engine.call('drive.open', { ...moved, generation: 1 });
  await twice('drive.close', { driveId: id });
  await refused('DRIVE_CORRUPT', 'drive.identify', { path: join(engine.folder, 'empty.img') });
});

test('a second engine on the same drive leaves it to the first', async () => {
  const second = new EngineProcess();
  try {
    second.listDrives([drive]);
    await second.start();
    const { drives } = await second.call('drive.list');
    assert.ok(Array.isArray(drives) && drives[0].state === 'faulted');
    assert.match(drives[0].reason, /a process holds it/);
    await assert.rejects(second.call('volume.create', volume), /It is|is faulted|Cannot use drive/);
  } finally {
    await second.remove();
  }
  assert.equal((await engine.call('stats'))['pid'], engine.pid);
});

test('detach drains and closes; shutdown ends the process', async () => {
  const client = await attach();
  await twice('volume.detach', { uuid: VOLUME, attachId: ATTACH });
  assert.equal((await client.untilEnd()).length, 0);
  await assert.rejects(attach());
  await twice('drive.close', { driveId: DRIVE });
  await engine.call('drive.open', drive);
  await twice('volume.delete', { uuid: VOLUME });
  const ended = engine.ended();
  assert.deepEqual(await engine.call('shutdown'), {});
  assert.equal(await ended, 0);
});

test('an engine without a descriptor left still says who it is', async () => {
  const other = new EngineProcess();
  try {
    await other.start();
    await other.call('drive.list');
    execFileSync('prlimit', ['--pid', String(other.pid), '--nofile=1:']);
    const { pid } = await other.call('hello', { protocol: LINE_PROTOCOL_VERSION });
    assert.equal(pid, other.pid);
  } finally {
    await other.remove();
  }
});

test('an engine that is asked to end breaks a format off, and leaves nothing of it', async () => {
  const other = new EngineProcess();
  try {
    await other.start();
    const file = join(other.folder, 'half.img');
    const client = new LineClient(other.socketPath, 'ENGINE_UNREACHABLE');
    const begun = Promise.withResolvers<void>();
    const formatting = client.call(
      'drive.format',
      { driveId: DRIVE, path: file, sizeBytes: 4096 * MIB, sparse: false, force: false },
      { onProgress: () => begun.resolve(), waitMs: 0 },
    );
    const broken = assert.rejects(formatting);
    await begun.promise;
    assert.equal(await other.end('SIGTERM'), 0);
    await broken;
    assert.ok(!existsSync(file));
    client.close();
  } finally {
    await other.remove();
  }
});
