import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksumOf } from '../lib/checksum.ts';
import { DriveRig, SMALL } from '../../sim/drive-rig.ts';
import type { CheckReport } from './check-report.ts';
import { Geometry, planLayout } from './geometry.ts';
import { OWNER_WORDS, PAGE_ENTRIES } from './page-format.ts';

const UUID = 'a'.repeat(32);
const SIZE_BYTES = 2 ** 20;
const BLOCK = 4096;

/** A repair opens the drive as the engine does, with its large frames and memories: a log of 7 MiB, 64 MiB of arena. */
const { sizeBytes: driveBytes, ...shape } = {
  ...SMALL,
  sizeBytes: 16 * 2 ** 20,
  logBytes: 7 * 2 ** 20,
};
const MEMORY_PAGES = 1024;
const layout = planLayout({ ...shape, sizeBytes: driveBytes });
assert.ok(layout !== undefined);
const geometry = new Geometry(layout);
/** The first cell goes to the first extent that is written. */
const CELL = 0;
const OWNERS = geometry.ownerPage(CELL);
const SUMS = geometry.checksumPage(CELL);

/** A drive with one volume whose first extents hold data, closed cleanly or killed. */
async function made(end: 'closed' | 'killed'): Promise<DriveRig> {
  const rig = new DriveRig(7, MEMORY_PAGES);
  await rig.format({ sizeBytes: driveBytes, geometry: shape });
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: SIZE_BYTES }));
  const client = rig.client(store, UUID);
  for (const extent of [0, 1, 2]) {
    assert.equal(await client.write(extent * 65_536, new Uint8Array(65_536).fill(extent + 1)), 0);
  }
  assert.equal(await client.flush(), 0);
  if (end === 'closed') await rig.run(store.close());
  await rig.restart();
  return rig;
}

/** Severity and code of each finding, once. */
function found({ findings }: CheckReport): string[] {
  return [...new Set(findings.map(({ severity, code }) => `${severity} ${code}`))].toSorted();
}

/** Changes both copies of a metadata page and signs them anew, as a bug would have written them. */
function rewrite(rig: DriveRig, page: number, edit: (words: Uint32Array) => void): void {
  const { arena } = rig;
  const address = arena.reserve(BLOCK, BLOCK);
  const bytes = arena.u8.subarray(address, address + BLOCK);
  const words = arena.u32.subarray(address >>> 2, (address + BLOCK) >>> 2);
  for (const copy of [0, 1]) {
    const at = geometry.pageBlock(page, copy) * BLOCK;
    rig.disk.read(at, bytes);
    assert.notEqual(words[0], 0, 'a closed drive has both copies of what was written');
    edit(words);
    words[1] = 0;
    words[1] = checksumOf(arena.memory)(address, BLOCK, page, words[4] ?? 0);
    rig.disk.apply({ completed: 0 }, at, bytes);
  }
}

const rotPage = (rig: DriveRig, page: number, copy: number): void =>
  rig.rot(geometry.pageBlock(page, copy) * BLOCK + 100);

test('a drive that was closed is clean, data and all', async () => {
  const rig = await made('closed');
  const report = await rig.check({ data: true });
  assert.deepEqual(report.findings, []);
  assert.equal(report.summary, 'clean');
  assert.deepEqual(
    [report.volumes, report.usedCells, report.dataBlocksRead, report.framesToReplay],
    [1, 3, 48, 0],
  );
});

test('what a killed process left in the log is a note, and checking changes nothing', async () => {
  const rig = await made('killed');
  for (let round = 0; round < 2; round++) {
    const report = await rig.check({ data: true });
    assert.ok(report.framesToReplay > 0);
    assert.deepEqual(
      found(report).filter((each) => !each.startsWith('note')),
      [],
    );
    assert.ok(found(report).includes('note LOG_TO_REPLAY'));
  }
  const store = await rig.open();
  assert.deepEqual(
    await rig.client(store, UUID).read(65_536, BLOCK),
    new Uint8Array(BLOCK).fill(2),
  );
});

test('a rotten superblock copy is a warning, and four of them are the end', async () => {
  const rig = await made('closed');
  rig.rot(8 + 20);
  assert.deepEqual(found(await rig.check()), ['warning SUPERBLOCK_COPY']);
  for (const n of [1, 2]) {
    for (const block of geometry.superblockBlocks(n)) if (block > 0) rig.rot(block * BLOCK + 28);
  }
  const report = await rig.check();
  assert.deepEqual(found(report), ['damage UNREADABLE']);
  assert.match(report.findings[0]?.what ?? '', /all its superblocks are rotten/);
});

test('one rotten copy of a page is a warning, and repair writes it anew', async () => {
  for (const page of [0, OWNERS, SUMS]) {
    for (const copy of [0, 1]) {
      const rig = await made('closed');
      rotPage(rig, page, copy);
      assert.deepEqual(
        found(await rig.check({ data: true })),
        ['warning PAGE_COPY'],
        `page ${page}`,
      );
      await rig.restart();
      const repaired = await rig.check({ repair: true });
      assert.ok(found(repaired).includes('note REPAIRED'));
      await rig.restart();
      assert.deepEqual((await rig.check({ data: true })).findings, [], `page ${page}/${copy}`);
    }
  }
});

test('two rotten copies of a page are damage, and repair keeps its hands off', async () => {
  for (const page of [OWNERS, SUMS]) {
    const rig = await made('closed');
    rotPage(rig, page, 0);
    rotPage(rig, page, 1);
    await rig.restart();
    const report = await rig.check({ repair: true });
    assert.ok(found(report).includes('damage PAGE_LOST'), `page ${page}`);
    assert.ok(!found(report).includes('note REPAIRED'));
  }
});

test('a rotten block is damage, where data is read', async () => {
  const rig = await made('closed');
  rig.rot((geometry.cellStart(CELL) + 3) * BLOCK + 77);
  assert.equal((await rig.check()).summary, 'clean');
  const report = await rig.check({ data: true });
  assert.deepEqual(found(report), ['damage BLOCK_ROTTEN']);
  assert.match(report.findings[0]?.where ?? '', new RegExp(`"${UUID}", byte ${3 * BLOCK}$`));
});

test('the right bytes in the place of another extent are damage', async () => {
  const rig = await made('closed');
  const bytes = new Uint8Array(BLOCK);
  rig.disk.read(geometry.cellStart(CELL) * BLOCK, bytes);
  rig.disk.apply({ completed: 0 }, (geometry.cellStart(CELL) + 1) * BLOCK, bytes);
  // Both blocks hold the same bytes; their checksums differ by their place.
  assert.deepEqual(found(await rig.check({ data: true })), []);
  rewrite(rig, SUMS, (words) => {
    const sums = PAGE_ENTRIES + geometry.checksumIndex(CELL);
    words[sums + 1] = words[sums] ?? 0;
  });
  assert.deepEqual(found(await rig.check({ data: true })), ['damage BLOCK_ROTTEN']);
});

test('an owner that the table does not have, and masks that disagree, are found on the drive', async () => {
  const rig = await made('closed');
  const entry = PAGE_ENTRIES + geometry.ownerIndex(CELL) * OWNER_WORDS;
  rewrite(rig, OWNERS, (words) => {
    words[entry] = 4711;
  });
  assert.ok(found(await rig.check()).includes('warning OWNER_UNKNOWN'));
  const other = await made('closed');
  rewrite(other, OWNERS, (words) => {
    // decided without the last block, data with it; two versions, so that the masks are looked at.
    words[entry + 4] = (0x7fff | (0xffff << 16)) >>> 0;
  });
  assert.ok(found(await other.check()).includes('damage MASKS_DISAGREE'));
});

test('pages that changed lately and are in one copy are a note', async () => {
  const rig = new DriveRig(3);
  await rig.format({ sizeBytes: driveBytes, geometry: shape });
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: SIZE_BYTES }));
  const client = rig.client(store, UUID);
  assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(1)), 0);
  // The process dies between the close's checkpoint and the mirroring behind it.
  rig.machine.onOperation = (operation) => {
    const isPage =
      operation.kind === 'read' && operation.positionBytes >= layout.directoryStart * BLOCK;
    if (isPage && store.status().counters['checkpoints'] === 2)
      rig.machine.powerOff((disk) => disk.flush(Infinity));
  };
  const closing = store.close();
  closing.catch(() => undefined);
  await assert.rejects(rig.run(closing), /nothing is left to happen/);
  rig.machine.onOperation = undefined;
  await rig.restart();
  assert.ok(found(await rig.check()).includes('note PAGES_UNMIRRORED'));
});

test('more findings of one code than are listed are counted', async () => {
  const rig = await made('closed');
  for (let block = 0; block < 48; block++) {
    const cell = CELL + Math.floor(block / 16);
    rig.rot((geometry.cellStart(cell) + (block % 16)) * BLOCK + 5);
  }
  const report = await rig.check({ data: true });
  assert.equal(report.findings.length, 20);
  assert.match(report.summary, /^damaged: 48 findings/);
});
