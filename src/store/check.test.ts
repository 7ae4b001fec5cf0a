import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EIO, ENXIO } from '../model/errno.ts';
import { Prng } from '../lib/prng.ts';
import {
  BLOCK,
  CELL,
  EXTENT,
  GEOMETRY,
  LAYOUT,
  OWNERS,
  SUMS,
  VOLUME,
  formattedDrive,
  found,
  rewritePage,
  rotPage,
  unmirroredDrive,
  writtenDrive,
  wrong,
} from '../../sim/checked-drive.ts';
import type { DriveRig } from '../../sim/drive-rig.ts';
import { OWNER_WORDS, PAGE_ENTRIES } from './page-format.ts';

test('a drive that was closed is clean, data and all', async () => {
  const rig = await writtenDrive('closed');
  const report = await rig.check({ data: true });
  assert.deepEqual(report.findings, []);
  assert.equal(report.summary, 'clean');
  assert.deepEqual(
    [report.volumes, report.usedCells, report.dataBlocksRead, report.framesToReplay],
    [1, 3, 48, 0],
  );
});

test('what a killed process left in the log is a note, and checking changes nothing', async () => {
  const rig = await writtenDrive('killed');
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
    await rig.client(store, VOLUME).read(EXTENT, BLOCK),
    new Uint8Array(BLOCK).fill(2),
  );
});

test('one rotten copy of a page is a warning, and repair writes it anew', async () => {
  for (const page of [0, OWNERS, SUMS]) {
    for (const copy of [0, 1]) {
      const rig = await writtenDrive('closed');
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
    const rig = await writtenDrive('closed');
    rotPage(rig, page, 0);
    rotPage(rig, page, 1);
    await rig.restart();
    const report = await rig.check({ repair: true });
    assert.ok(found(report).includes('damage PAGE_LOST'), `page ${page}`);
    assert.ok(found(report).includes('note NOT_REPAIRED'));
    assert.ok(!found(report).includes('note REPAIRED'));
  }
});

test('an owner that the table does not have, and masks that disagree, are found on the drive', async () => {
  const rig = await writtenDrive('closed');
  const entry = PAGE_ENTRIES + GEOMETRY.ownerIndex(CELL) * OWNER_WORDS;
  rewritePage(rig, OWNERS, (words) => {
    words[entry] = 4711;
  });
  assert.ok(found(await rig.check()).includes('warning OWNER_UNKNOWN'));
  const other = await writtenDrive('closed');
  rewritePage(other, OWNERS, (words) => {
    // decided without the last block, data with it; two versions, so that the masks are looked at.
    words[entry + 4] = (0x7fff | (0xffff << 16)) >>> 0;
  });
  assert.ok(found(await other.check()).includes('damage MASKS_DISAGREE'));
});

test('an owner entry that gives an extent a second cell of one birth is found, and the drive does not open', async () => {
  const rig = await writtenDrive('closed');
  rewritePage(rig, OWNERS, (words) => {
    const [first, second] = [CELL, CELL + 1].map(
      (cell) => PAGE_ENTRIES + GEOMETRY.ownerIndex(cell) * OWNER_WORDS,
    ) as [number, number];
    words.copyWithin(second, first, first + OWNER_WORDS);
  });
  assert.ok(found(await rig.check()).includes('damage BIRTH_TWICE'));
  await rig.restart();
  await assert.rejects(rig.open(), { code: 'DRIVE_CORRUPT' });
});

test('pages in one copy are a note, and repair writes the other ones', async () => {
  const rig = await unmirroredDrive();
  assert.deepEqual(found(await rig.check({ repair: true })), [
    'note PAGES_UNMIRRORED',
    'note REPAIRED',
  ]);
  await rig.restart();
  assert.deepEqual((await rig.check()).findings, []);
});

test('more findings of one code than are listed are counted', async () => {
  const rig = await writtenDrive('closed');
  for (let block = 0; block < 48; block++) {
    const cell = CELL + Math.floor(block / 16);
    rig.rot((GEOMETRY.cellStart(cell) + (block % 16)) * BLOCK + 5);
  }
  const report = await rig.check({ data: true });
  assert.equal(report.findings.length, 20);
  assert.match(report.summary, /^damaged: 48 findings/);
});

/** A drive with two volumes and a snapshot, after a few hundred changes that the seed draws, closed or killed. */
async function worn(seed: number): Promise<DriveRig> {
  const prng = new Prng(seed);
  const rig = await formattedDrive(seed);
  const store = await rig.open();
  const uuids = [VOLUME, 'b'.repeat(32)];
  for (const uuid of uuids) await rig.run(store.createVolume({ uuid, sizeBytes: 2 ** 20 }));
  const clients = uuids.map((uuid) => rig.client(store, uuid));
  const births: number[] = [];
  for (let step = 0; step < 250; step++) {
    const client = prng.pick(clients);
    const block = prng.below(256);
    const count = 1 + prng.below(Math.min(16, 256 - block));
    const dice = prng.below(100);
    if (dice < 70) {
      const bytes = new Uint8Array(count * BLOCK).fill(1 + prng.below(255));
      assert.equal(await client.write(block * BLOCK, bytes), 0);
    } else if (dice < 85) assert.equal(await client.trim(block * BLOCK, count * BLOCK), 0);
    else if (dice < 92) assert.equal(await client.flush(), 0);
    else if (dice < 96 && births.length < 3) births.push(await rig.run(store.snapshot(VOLUME)));
    else if (births.length > 0) {
      await rig.run(store.deleteSnapshot(VOLUME, births.shift() ?? 0));
      await rig.run(store.settled());
    }
  }
  if (prng.chance(50)) await rig.run(store.close());
  await rig.restart();
  return rig;
}

test('drives after random work, closed or killed, are clean', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const rig = await worn(seed);
    const report = await rig.check({ data: true });
    assert.deepEqual(wrong(report), [], `seed ${seed}`);
    assert.match(report.summary, /^clean/);
    assert.equal(report.volumes, 2);
    assert.ok(report.dataBlocksRead > 100);
  }
});

test('an unreadable copy of a page is as a rotten one', async () => {
  for (const page of [0, OWNERS, SUMS]) {
    const rig = await writtenDrive('closed');
    const fromBytes = GEOMETRY.pageBlock(page, 0) * BLOCK;
    const within = { fromBytes, toBytes: fromBytes + BLOCK };
    rig.machine.faults.add({ on: 'read', nth: 1, within, give: { kind: 'error', errno: EIO } });
    assert.deepEqual(found(await rig.check()), ['warning PAGE_COPY']);
  }
});

test('a drive that answers nothing more is told as such', async () => {
  const rig = await writtenDrive('closed');
  const within = { fromBytes: LAYOUT.logStart * BLOCK, toBytes: LAYOUT.directoryStart * BLOCK };
  rig.machine.faults.add({ on: 'read', nth: 1, within, give: { kind: 'error', errno: ENXIO } });
  const report = await rig.check({ repair: true });
  assert.deepEqual(found(report), ['damage UNREADABLE', 'note NOT_REPAIRED']);
});

test('repairing a drive that needs nothing writes nothing', async () => {
  const rig = await writtenDrive('closed');
  let writes = 0;
  rig.machine.onOperation = (operation) => {
    if (operation.kind !== 'read') writes++;
  };
  assert.deepEqual((await rig.check({ repair: true })).findings, []);
  assert.equal(writes, 0);
});

test('every code that the check has is found by some test, and docs/drive-format.md says what it means', () => {
  const folder = import.meta.dirname;
  const files = readdirSync(folder);
  const textOf = (pattern: RegExp): string =>
    files
      .filter((file) => pattern.test(file))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n');
  const codes = new Set(
    [...textOf(/^(check|check-[a-z]+|repair)\.ts$/).matchAll(/code: '([A-Z_]+)'/g)].map(
      ([, code]) => code ?? '',
    ),
  );
  const tests = textOf(/^check.*\.test\.ts$/);
  assert.ok(codes.size > 20);
  const page = readFileSync(join(folder, '../../docs/drive-format.md'), 'utf8');
  const rows = page.split('\n').filter((line) => /^\| [A-Z_]{4,}/.test(line));
  for (const code of codes) {
    assert.ok(new RegExp(`\\b${code}'`).test(tests), `${code} has no test`);
    const row = rows.find((line) => new RegExp(`\\b${code}\\b`).test(line.split('|')[1] ?? ''));
    assert.ok(row !== undefined, `${code} has no row`);
  }
});
