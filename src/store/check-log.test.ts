import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BLOCK,
  GEOMETRY,
  LAYOUT,
  SUMS,
  VOLUME,
  found,
  killedAfter,
  newestSuperblock,
  rotBlock,
  rotPage,
  writtenDrive,
} from '../../sim/checked-drive.ts';
import type { DriveRig } from '../../sim/drive-rig.ts';

/** A drive that was closed once, then killed with two flushed overwrites in its log. */
async function killedDrive(): Promise<DriveRig> {
  const rig = await writtenDrive('closed');
  await killedAfter(rig, async (store) => {
    const client = rig.client(store, VOLUME);
    for (const fill of [8, 9]) {
      assert.equal(await client.write(fill * BLOCK, new Uint8Array(BLOCK).fill(fill)), 0);
      assert.equal(await client.flush(), 0);
    }
  });
  return rig;
}

test('frames that wait are counted, with their bytes and how far they were flushed', async () => {
  const rig = await killedDrive();
  const report = await rig.check();
  assert.deepEqual(found(report), ['note LOG_TO_REPLAY']);
  assert.equal(report.summary, 'clean, 1 note');
  // Two frames of two blocks, and at least one mark.
  assert.ok(report.framesToReplay >= 3);
  assert.equal(report.logBytesToReplay, (4 + report.framesToReplay - 2) * BLOCK);
  const { tailLsn } = newestSuperblock(rig);
  const last = tailLsn + report.framesToReplay - 1;
  const what = report.findings[0]?.what ?? '';
  assert.match(what, new RegExp(`Frames ${tailLsn} to ${last} .* Frames up to ${last - 1} say`));
});

test('a hole below what was flushed is damage, and the log ends nowhere quietly', async () => {
  const rig = await killedDrive();
  rotBlock(rig, LAYOUT.logStart + newestSuperblock(rig).tailBlock);
  const report = await rig.check({ repair: true });
  assert.deepEqual(found(report), ['damage LOG_DAMAGED', 'note NOT_REPAIRED']);
  await rig.restart();
  await assert.rejects(rig.open(), { code: 'DRIVE_CORRUPT' });
});

test('a superblock that frames say is not the newest is damage', async () => {
  const rig = await killedDrive();
  for (const block of GEOMETRY.superblockBlocks(newestSuperblock(rig).n)) rotBlock(rig, block);
  assert.ok(found(await rig.check()).includes('damage SUPERBLOCK_STALE'));
  await rig.restart();
  await assert.rejects(rig.open(), { code: 'DRIVE_CORRUPT' });
});

test('a log that changes a lost page cannot be replayed', async () => {
  const rig = await killedDrive();
  for (const copy of [0, 1]) rotPage(rig, SUMS, copy);
  const codes = found(await rig.check({ data: true }));
  assert.ok(codes.includes('damage PAGE_LOST'));
  assert.ok(codes.includes('damage LOG_NOT_REPLAYED'));
});
