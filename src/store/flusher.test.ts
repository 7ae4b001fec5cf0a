import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriveRig } from '../../sim/drive-rig.ts';

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
