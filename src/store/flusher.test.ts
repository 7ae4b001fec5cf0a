import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Io, OnCompletion } from '../env/io.ts';
import { DriveRig } from '../../sim/drive-rig.ts';
import { SimIo } from '../../sim/sim-io.ts';
import { Flusher } from './flusher.ts';
import type { Log } from './log.ts';
import { type Media, newCounters } from './media.ts';

const UUID = 'f'.repeat(32);
const COUNT = 32;
const BLOCK = 4096;

test('a flush is one fdatasync, and those that come together share one', async () => {
  const rig = new DriveRig();
  await rig.format();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: COUNT * BLOCK }));
  const fdatasyncs = (): number => store.status().counters['fdatasyncs'] ?? 0;

  const client = rig.client(store, UUID);
  let before = fdatasyncs();
  for (let flush = 1; flush <= 4; flush++) {
    assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(flush)), 0);
    assert.equal(await client.flush(), 0);
    assert.equal(fdatasyncs() - before, flush);
  }

  let over = 0;
  const target = store.openTarget(UUID, (_, errno) => {
    assert.equal(errno, 0);
    over++;
  });
  const address = rig.arena.reserve(COUNT * BLOCK, BLOCK);
  rig.inTurn(() => {
    for (let token = 0; token < COUNT; token++)
      target.write(token, token * BLOCK, BLOCK, address + token * BLOCK, false);
  });
  await rig.world.run(() => over === COUNT, 'the writes');
  before = fdatasyncs();
  rig.inTurn(() => {
    for (let token = 0; token < COUNT; token++) target.flush(token);
  });
  await rig.world.run(() => over === 2 * COUNT, 'the flushes');
  assert.equal(fdatasyncs() - before, 1);
});

test('what nobody flushes is flushed within a second', async () => {
  const rig = new DriveRig();
  await rig.format();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: BLOCK }));
  assert.equal(await rig.client(store, UUID).write(0, new Uint8Array(BLOCK).fill(7)), 0);
  await rig.world.sleep(1_100_000);
  rig.machine.powerOff((disk) => disk.cut(() => -1));
  await rig.restart();
  const again = await rig.open();
  assert.equal((await rig.client(again, UUID).read(0, BLOCK))?.[0], 7);
});

test('32 MiB that nobody flushes are flushed at once, and less is not', () => {
  const LIMIT = 32 * 2 ** 20;
  const ports: OnCompletion[] = [];
  const io: Partial<Io> = {
    port: (onCompletion) => ports.push(onCompletion) as ReturnType<Io['port']>,
    flush: () => undefined,
    timer: () => undefined,
  };
  const counters = newCounters();
  const media: Partial<Media> = { io: io as Io, fd: 3, counters, activity: 0, fault: undefined };
  const log = { settledLsn: 1, dirtyLsn: 1, durableLsn: 0, dirtyBytes: LIMIT - 1 };
  const flusher = new Flusher(media as Media, log as Partial<Log> as Log, {
    onFlushed: () => undefined,
    onDurable: () => undefined,
  });
  flusher.pump();
  assert.equal(counters.fdatasyncs, 0);
  log.dirtyBytes = LIMIT;
  flusher.pump();
  assert.equal(counters.fdatasyncs, 1);
  ports[0]?.(0, 0);
  Object.assign(log, { settledLsn: 2, dirtyLsn: 2, dirtyBytes: 2 * LIMIT - 1 });
  flusher.pump();
  assert.equal(counters.fdatasyncs, 1, 'what was flushed counts no more');
  log.dirtyBytes = 2 * LIMIT;
  flusher.pump();
  assert.equal(counters.fdatasyncs, 2);
});

test('a drive on which nothing happens asks for no timer, but for what its last write left to do', async (context) => {
  const rig = new DriveRig();
  await rig.format();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: BLOCK }));
  const client = rig.client(store, UUID);
  assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(7)), 0);
  assert.equal(await client.flush(), 0);
  await rig.world.sleep(60_000_000);
  const timer = context.mock.method(SimIo.prototype, 'timer');
  const before = rig.machine.operationCount;
  await rig.world.sleep(60_000_000);
  assert.deepEqual([timer.mock.callCount(), rig.machine.operationCount - before], [0, 0]);
});
