import assert from 'node:assert/strict';
import { test } from 'node:test';

import { found, newestSuperblock } from '../../sim/checked-drive.ts';
import { DriveRig } from '../../sim/drive-rig.ts';

const BLOCK = 4096;

/** A drive that was closed while changes of its one replica were marked. */
async function markedDrive(): Promise<DriveRig> {
  const rig = new DriveRig(1);
  await rig.format();
  const store = await rig.open();
  const uuid = 'a'.repeat(32);
  await rig.run(store.createVolume({ uuid, sizeBytes: 2 ** 20, isReplica: true }));
  const address = rig.arena.reserve(BLOCK, BLOCK);
  const written = new Promise<void>((resolve) => {
    const replica = store.openReplica(uuid, () => {
      resolve();
      rig.world.askToSettle();
    });
    const change = { epoch: 1, number: 1, stamp: 1, fua: false };
    const range = { offsetBytes: 0, lengthBytes: BLOCK };
    rig.inTurn(() => replica.write(0, range, address, change));
  });
  await rig.run(written);
  await rig.run(store.close());
  await rig.restart();
  return rig;
}

test('open marks are told, and nothing to repair', async () => {
  const rig = await markedDrive();
  assert.deepEqual(found(await rig.check({ data: true })), ['note MARKS_OPEN']);
  let writes = 0;
  rig.machine.onOperation = ({ kind }) => {
    if (kind === 'write') writes++;
  };
  await rig.check({ repair: true });
  assert.equal(writes, 0);
});

test('rot in the marks that a clean close left is noticed', async () => {
  const rig = await markedDrive();
  const { layout, tailBlock } = newestSuperblock(rig);
  rig.rot((layout.logStart + tailBlock) * BLOCK + 100);
  assert.deepEqual(found(await rig.check()), ['damage LOG_DAMAGED']);
  await assert.rejects(rig.open(), /says that frames up to \d+ were durable/);
});
