import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import {
  BLOCK,
  EXTENT,
  GEOMETRY,
  LAYOUT,
  OWNERS,
  SUMS,
  VOLUME,
  found,
  rotPage,
  unmirroredDrive,
  writtenDrive,
  wrong,
} from '../../sim/checked-drive.ts';
import type { DriveRig } from '../../sim/drive-rig.ts';

const SECOND_US = 1_000_000;
const MINUTE_US = 61 * SECOND_US;

/** What checking finds wrong with pages, and pages in one copy, after a life in which the drive was open for a minute. */
async function afterAMinute(rig: DriveRig): Promise<string[]> {
  await rig.open();
  await rig.world.sleep(MINUTE_US);
  await rig.restart();
  return found(await rig.check()).filter((each) => each.includes('PAGE'));
}

test('pages that a dead process left in one copy are in two when the next one has been idle', async () => {
  const rig = await unmirroredDrive();
  assert.ok(found(await rig.check()).includes('note PAGES_UNMIRRORED'));
  assert.deepEqual(await afterAMinute(rig), []);
});

test('rot in a copy that nobody reads is healed while the drive is idle', async () => {
  for (const page of [0, OWNERS, SUMS]) {
    for (const copy of [0, 1]) {
      const rig = await writtenDrive('closed');
      rotPage(rig, page, copy);
      assert.deepEqual(wrong(await rig.check()), ['warning PAGE_COPY']);
      assert.deepEqual(await afterAMinute(rig), [], `page ${page}, copy ${copy}`);
      const store = await rig.open();
      const bytes = await rig.client(store, VOLUME).read(EXTENT, BLOCK);
      assert.deepEqual(bytes, new Uint8Array(BLOCK).fill(2));
    }
  }
});

test('an unreadable copy is written anew, and a page that is rotten in both copies is left as it is', async () => {
  const rig = await writtenDrive('closed');
  const fromBytes = GEOMETRY.pageBlock(SUMS, 1) * BLOCK;
  const run = GEOMETRY.pageBlock(OWNERS, 1) * BLOCK;
  assert.ok(run < fromBytes, 'the pages of a chunk are read together');
  // Once in the large read, once in the single one.
  for (const at of [run, fromBytes]) {
    const within = { fromBytes: at, toBytes: at + BLOCK };
    rig.machine.faults.add({ on: 'read', nth: 1, within, give: { kind: 'error', errno: EIO } });
  }
  let writes = 0;
  rig.machine.onOperation = ({ kind, positionBytes }) => {
    if (kind === 'write' && positionBytes === fromBytes) writes++;
  };
  assert.deepEqual(await afterAMinute(rig), []);
  assert.equal(writes, 1);
  for (const copy of [0, 1]) rotPage(rig, SUMS, copy);
  assert.deepEqual(await afterAMinute(rig), ['damage PAGE_LOST']);
});

test('a drive that is never idle compares its pages behind its checkpoints', async () => {
  const rig = await unmirroredDrive();
  const store = await rig.open();
  const client = rig.client(store, VOLUME);
  for (let second = 0; second < 65; second++) {
    assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(second + 1)), 0);
    await rig.world.sleep(SECOND_US);
  }
  await rig.restart();
  // What the last checkpoint wrote is mirrored behind it.
  assert.deepEqual(
    found(await rig.check()).filter((each) => each.includes('PAGE')),
    [],
  );
});

test('once all is compared an idle drive is left alone', async () => {
  const rig = await writtenDrive('closed');
  const store = await rig.open();
  await rig.world.sleep(MINUTE_US);
  const before = rig.machine.operationCount;
  await rig.world.sleep(90 * SECOND_US);
  assert.equal(rig.machine.operationCount, before);
  await rig.run(store.close());
});

test('comparing makes way for a close, and nothing is read or written behind that', async () => {
  const rig = await writtenDrive('closed');
  const store = await rig.open();
  let reads = 0;
  const comparing = new Promise<void>((resolve) => {
    rig.machine.onOperation = (operation) => {
      if (operation.kind === 'read') reads++;
      resolve();
    };
  });
  await rig.run(comparing);
  await rig.run(store.close());
  // Both copies of the table were under way; those of the chunk are left for the next life.
  assert.equal(reads, 2);
  const before = rig.machine.operationCount;
  await rig.world.sleep(90 * SECOND_US);
  assert.equal(rig.machine.operationCount, before);
  await rig.restart();
  assert.deepEqual((await rig.check()).findings, []);
});

test('nothing is read, written or flushed behind an opening that failed', async () => {
  // A superblock, then a page.
  for (const [first, end] of [
    [0, 2],
    [LAYOUT.tableStart, LAYOUT.chunkStart],
  ] as const) {
    const rig = await writtenDrive('killed');
    const within = { fromBytes: first * BLOCK, toBytes: end * BLOCK };
    rig.machine.faults.add({ on: 'write', nth: 1, within, give: { kind: 'error', errno: EIO } });
    await assert.rejects(rig.open(), { code: 'DRIVE_IO' });
    const before = rig.machine.operationCount;
    await rig.world.sleep(90 * SECOND_US);
    assert.equal(rig.machine.operationCount, before);
  }
});
