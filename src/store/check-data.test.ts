import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import {
  BLOCK,
  CELL,
  EXTENT,
  GEOMETRY,
  LAYOUT,
  SUMS,
  VOLUME,
  blockOf,
  found,
  killedAfter,
  putBlock,
  rewritePage,
  rotBlock,
  rotPage,
  writtenDrive,
  wrong,
} from '../../sim/checked-drive.ts';
import { PAGE_ENTRIES } from './page-format.ts';

const FIRST_BLOCK = GEOMETRY.cellStart(CELL);

test('a rotten block is damage, where data is read', async () => {
  for (const cell of [0, 1, 2]) {
    for (const block of [0, 3, 15]) {
      const rig = await writtenDrive('closed');
      rotBlock(rig, GEOMETRY.cellStart(cell) + block);
      assert.equal((await rig.check()).summary, 'clean');
      const report = await rig.check({ data: true });
      assert.deepEqual(found(report), ['damage BLOCK_ROTTEN']);
      assert.equal(report.findings.length, 1);
      const at = cell * EXTENT + block * BLOCK;
      assert.match(report.findings[0]?.where ?? '', new RegExp(`"${VOLUME}", byte ${at}$`));
    }
  }
});

test('the right bytes in the place of another block are damage', async () => {
  const rig = await writtenDrive('closed');
  putBlock(rig, FIRST_BLOCK + 1, blockOf(rig, FIRST_BLOCK));
  // Both blocks hold the same bytes; their checksums differ by their place.
  assert.deepEqual(found(await rig.check({ data: true })), []);
  rewritePage(rig, SUMS, (words) => {
    const sums = PAGE_ENTRIES + GEOMETRY.checksumIndex(CELL);
    words[sums + 1] = words[sums] ?? 0;
  });
  assert.deepEqual(found(await rig.check({ data: true })), ['damage BLOCK_ROTTEN']);
});

test('a block that cannot be read is damage, its neighbours are not', async () => {
  const rig = await writtenDrive('closed');
  const store = await rig.open();
  // Zeros, as which an unreadable block comes.
  const errno = await rig.client(store, VOLUME).write(5 * BLOCK, new Uint8Array(BLOCK));
  assert.equal(errno, 0);
  await rig.run(store.close());
  await rig.restart();
  const fromBytes = (FIRST_BLOCK + 5) * BLOCK;
  const give = { kind: 'error', errno: EIO } as const;
  // The large read fails, then the single one of this block.
  const run = { fromBytes: FIRST_BLOCK * BLOCK, toBytes: FIRST_BLOCK * BLOCK + 1 };
  rig.machine.faults.add({ on: 'read', nth: 1, within: run, give });
  const within = { fromBytes, toBytes: fromBytes + BLOCK };
  rig.machine.faults.add({ on: 'read', nth: 1, within, give });
  const report = await rig.check({ data: true });
  assert.deepEqual(found(report), ['damage BLOCK_ROTTEN']);
  assert.equal(report.findings.length, 1);
  assert.match(report.findings[0]?.what ?? '', /cannot read the block/);
  assert.equal(report.dataBlocksRead, 48);
});

test('a drive of many runs is read whole, and each bad block is found once', async () => {
  const rig = await writtenDrive('closed');
  const store = await rig.open();
  const client = rig.client(store, VOLUME);
  for (let extent = 3; extent < 16; extent++) {
    assert.equal(await client.write(extent * EXTENT, new Uint8Array(EXTENT).fill(extent + 1)), 0);
  }
  await rig.run(store.close());
  await rig.restart();
  const whole = await rig.check({ data: true });
  assert.deepEqual([whole.summary, whole.dataBlocksRead], ['clean', 16 * 16]);
  const wanted = [0, 7, 8, 15].map((cell) => `byte ${cell * EXTENT + (15 - cell) * BLOCK}`);
  for (const cell of [0, 7, 8, 15]) rotBlock(rig, GEOMETRY.cellStart(cell) + 15 - cell);
  const { findings } = await rig.check({ data: true });
  assert.deepEqual(
    findings.map(({ where }) => where.split(', ')[1]),
    wanted,
  );
});

test('cells whose checksums are lost are not read, the others are', async () => {
  const rig = await writtenDrive('closed');
  for (const copy of [0, 1]) rotPage(rig, SUMS, copy);
  rotBlock(rig, FIRST_BLOCK);
  const report = await rig.check({ data: true });
  // One checksum page covers all three extents.
  assert.deepEqual(found(report), ['damage PAGE_LOST']);
  assert.equal(report.dataBlocksRead, 0);
});

test('content that is in the log and not in its place is no damage, and rot of both is', async () => {
  const rig = await writtenDrive('closed');
  await killedAfter(rig, async (store) => {
    const client = rig.client(store, VOLUME);
    assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(9)), 0);
    assert.equal(await client.flush(), 0);
  });
  assert.deepEqual(blockOf(rig, FIRST_BLOCK), new Uint8Array(BLOCK).fill(1), 'it is not applied');
  assert.deepEqual(wrong(await rig.check({ data: true })), []);
  const nine = new Uint8Array(BLOCK).fill(9);
  for (let block = LAYOUT.logStart; block < LAYOUT.directoryStart; block++) {
    if (Buffer.compare(blockOf(rig, block), nine) === 0) rotBlock(rig, block);
  }
  assert.deepEqual(wrong(await rig.check({ data: true })), ['damage BLOCK_ROTTEN']);
});
