import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from '../model/errors.ts';
import { DriveRig } from '../../sim/drive-rig.ts';
import type { DriveStore } from './drive-store.ts';

const MIB = 2 ** 20;
/** 8 pages of 8 records. */
const RECORDS = 64;
const uuidOf = (index: number): string => index.toString(16).padStart(32, 'a');

async function create(rig: DriveRig, store: DriveStore, index: number): Promise<void> {
  await rig.run(store.createVolume({ uuid: uuidOf(index), sizeBytes: MIB }));
}

/** The message that the refusal of a full table ends in. */
function refused(error: unknown): boolean {
  assert.ok(error instanceof Refusal);
  assert.equal(error.code, 'DRIVE_TABLE_FULL');
  assert.match(
    error.message,
    /^Cannot create another volume or snapshot: drive "\/sim\/drive\.img" holds 64 volumes and snapshots, /,
  );
  return true;
}

test('a full table refuses volumes and snapshots by the name of the drive and the bound', async () => {
  const rig = new DriveRig();
  await rig.format();
  const store = await rig.open();
  for (let index = 0; index < RECORDS; index++) await create(rig, store, index);
  await assert.rejects(create(rig, store, RECORDS), refused);
  await assert.rejects(rig.run(store.snapshot(uuidOf(0))), refused);
  // The way out.
  await rig.run(store.deleteVolume(uuidOf(7)));
  await rig.run(store.settled());
  await create(rig, store, RECORDS);
  await assert.rejects(create(rig, store, RECORDS + 1), refused);
  await rig.run(store.close());
});

test('snapshots count as volumes do', async () => {
  const rig = new DriveRig();
  await rig.format();
  const store = await rig.open();
  await create(rig, store, 0);
  const births: number[] = [];
  for (let index = 1; index < RECORDS; index++) {
    births.push(await rig.run(store.snapshot(uuidOf(0))));
  }
  await assert.rejects(create(rig, store, 1), refused);
  await rig.run(store.deleteSnapshot(uuidOf(0), births[3] ?? 0));
  await rig.run(store.settled());
  await create(rig, store, 1);
  await rig.run(store.close());
});
