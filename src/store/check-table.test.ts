import assert from 'node:assert/strict';
import { test } from 'node:test';
import { found, rewritePage, writtenDrive } from '../../sim/checked-drive.ts';
import { Findings } from './check-report.ts';
import { checkTable } from './check-table.ts';
import { PAGE_ENTRIES } from './page-format.ts';
import type { VolumeTable } from './volume-table.ts';
import type { TableRecord, TakenRecord } from './volume.ts';

const VOLUME: TakenRecord = {
  kind: 'volume',
  number: 1,
  uuid: 'a'.repeat(32),
  sizeBytes: 2 ** 20,
  epoch: 0,
  birth: 3,
  state: 'live',
  attachId: undefined,
  seen: undefined,
};
const SNAPSHOT: TakenRecord = { ...VOLUME, kind: 'snapshot', birth: 2 };

/** What is found in a table of these records. */
function problems(...records: readonly TableRecord[]): string[] {
  const findings = new Findings();
  checkTable({ records: () => records.entries() } as unknown as VolumeTable, findings);
  return findings.list.map(({ code, what }) => `${code}: ${what}`);
}

test('volumes, their snapshots and tombstones are well together', () => {
  const second = { ...VOLUME, number: 2, uuid: 'b'.repeat(32) };
  const tombstone = { ...VOLUME, kind: 'tombstone', number: 0 } as const;
  assert.deepEqual(
    problems(VOLUME, { kind: 'free' }, SNAPSHOT, { ...SNAPSHOT, birth: 1 }, second, tombstone),
    [],
  );
});

for (const [name, records, pattern] of [
  ['two of one number', [VOLUME, { ...VOLUME, uuid: 'b'.repeat(32) }], /Record 0 has its number 1/],
  ['two of one uuid', [VOLUME, { ...VOLUME, number: 2 }], /Record 0 has its uuid "a{32}"/],
  ['a size of none', [{ ...VOLUME, sizeBytes: 0 }], /has 0 bytes/],
  ['a size of half a block', [{ ...VOLUME, sizeBytes: 6144 }], /has 6144 bytes/],
  ['a size beyond 16 TiB', [{ ...VOLUME, sizeBytes: 2 ** 44 + 4096 }], /which no volume has/],
  ['a snapshot of no volume', [SNAPSHOT], /number 1, is not in the table/],
  ['a snapshot that is to come', [{ ...SNAPSHOT, birth: 3 }, VOLUME], /lies in its future/],
  ['a snapshot twice', [VOLUME, SNAPSHOT, SNAPSHOT], /is snapshot 2 of that volume too/],
] as const) {
  test(`${name} is found`, () => {
    const list = problems(...records);
    assert.equal(list.length, 1, list.join());
    assert.match(list[0] ?? '', pattern);
    assert.match(list[0] ?? '', /^TABLE_CONFLICT: /);
  });
}

test('one volume in two records is found on a drive', async () => {
  const rig = await writtenDrive('closed');
  rewritePage(rig, 0, (words) =>
    words.copyWithin(PAGE_ENTRIES + 126, PAGE_ENTRIES, PAGE_ENTRIES + 126),
  );
  assert.ok(found(await rig.check()).includes('damage TABLE_CONFLICT'));
});
