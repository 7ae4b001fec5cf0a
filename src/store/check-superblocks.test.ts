import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BLOCK,
  GEOMETRY,
  LAYOUT,
  blockOf,
  found,
  newestSuperblock,
  putBlock,
  resign,
  rotBlock,
  writtenDrive,
} from '../../sim/checked-drive.ts';
import { DriveRig } from '../../sim/drive-rig.ts';

const ALL = [...GEOMETRY.superblockBlocks(0), ...GEOMETRY.superblockBlocks(1)];

test('each of the four copies may rot: a warning, and repair writes it anew', async () => {
  for (const block of ALL) {
    const rig = await writtenDrive('closed');
    rotBlock(rig, block);
    const report = await rig.check({ repair: true });
    assert.deepEqual(found(report), ['note REPAIRED', 'warning SUPERBLOCK_COPY']);
    assert.match(report.summary, /^usable: 1 warning; nothing is lost$/);
    await rig.restart();
    assert.deepEqual((await rig.check()).findings, []);
  }
});

test('a blank copy is missing', async () => {
  const rig = await writtenDrive('closed');
  putBlock(rig, 0, new Uint8Array(BLOCK));
  const report = await rig.check();
  assert.deepEqual(found(report), ['warning SUPERBLOCK_COPY']);
  assert.match(report.findings[0]?.what ?? '', /There is none/);
});

test('four rotten copies are the end', async () => {
  const rig = await writtenDrive('closed');
  for (const block of ALL) rotBlock(rig, block);
  const report = await rig.check();
  assert.deepEqual(found(report), ['damage SUPERBLOCKS_LOST']);
  assert.equal(report.summary, 'damaged: 1 finding of damage');
});

test('a device that Holdfast never formatted is no drive', async () => {
  const rig = new DriveRig();
  rig.place(2 ** 24, []);
  assert.deepEqual(found(await rig.check()), ['damage SUPERBLOCKS_MISSING']);
});

test("a newer program's drive is told by its version", async () => {
  const rig = await writtenDrive('closed');
  resign(rig, 0, (words) => {
    words[2] = 7;
    return { word: 3, seeds: [7, 0] };
  });
  const report = await rig.check({ repair: true });
  assert.deepEqual(found(report), ['damage FORMAT_UNSUPPORTED', 'note NOT_REPAIRED']);
  assert.match(report.findings[0]?.what ?? '', /format version 7, this build reads 1/);
});

test('a file that was cut off is told with both sizes', async () => {
  const rig = await writtenDrive('closed');
  rig.disk.sizeBytes -= 65_536;
  const report = await rig.check();
  assert.ok(found(report).includes('damage DRIVE_CUT_OFF'));
  const what = report.findings.find(({ code }) => code === 'DRIVE_CUT_OFF')?.what ?? '';
  assert.match(what, new RegExp(`${LAYOUT.sizeBytes - 65_536}.* ${LAYOUT.sizeBytes} `));
});

test('a copy that is older than its mirror is a note in the newest pair, a warning in the other', async () => {
  for (const [isNewest, wanted] of [
    [true, 'note SUPERBLOCK_OLD'],
    [false, 'warning SUPERBLOCK_OLD'],
  ] as const) {
    const rig = await writtenDrive('closed');
    const before = new Map(ALL.map((block) => [block, blockOf(rig, block)]));
    const { n } = newestSuperblock(rig);
    // Two checkpoints: what was in each pair is older by two.
    await rig.run((await rig.open()).close());
    await rig.restart();
    assert.equal(newestSuperblock(rig).n, n + 2);
    const [first] = GEOMETRY.superblockBlocks(isNewest ? n : n + 1);
    putBlock(rig, first, before.get(first) ?? new Uint8Array(BLOCK));
    assert.deepEqual(found(await rig.check()), [wanted]);
    await rig.run((await rig.open()).close());
  }
});
