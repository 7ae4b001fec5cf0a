import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import {
  BLOCK,
  GEOMETRY,
  found,
  killedAfter,
  rotBlock,
  writtenDrive,
} from '../../sim/checked-drive.ts';

const COPIES = [0, 1].map((copy) => GEOMETRY.directoryBlock(0, copy));

test('one rotten copy of the directory is a warning, and repair writes it anew', async () => {
  for (const block of COPIES) {
    const rig = await writtenDrive('closed');
    rotBlock(rig, block);
    const report = await rig.check({ repair: true });
    assert.deepEqual(found(report), ['note REPAIRED', 'warning DIRECTORY_COPY']);
    await rig.restart();
    assert.deepEqual((await rig.check()).findings, []);
  }
});

test('one rotten or unreadable copy is written anew when the drive is opened', async () => {
  for (const block of COPIES) {
    const rig = await writtenDrive('closed');
    rotBlock(rig, block);
    await killedAfter(rig, () => Promise.resolve());
    assert.deepEqual(
      found(await rig.check()).filter((each) => each.includes('DIRECTORY')),
      [],
    );
    const within = { fromBytes: block * BLOCK, toBytes: (block + 1) * BLOCK };
    rig.machine.faults.add({ on: 'read', nth: 1, within, give: { kind: 'error', errno: EIO } });
    await killedAfter(rig, () => Promise.resolve());
  }
});

test('two rotten copies are the end, and an older page is not taken for the newest', async () => {
  const rig = await writtenDrive('closed');
  for (const block of COPIES) rotBlock(rig, block);
  assert.deepEqual(found(await rig.check()), ['damage DIRECTORY_LOST', 'warning DIRECTORY_COPY']);
  await rig.restart();
  await assert.rejects(rig.open(), { code: 'DRIVE_CORRUPT' });
});
