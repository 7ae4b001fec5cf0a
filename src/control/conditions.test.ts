import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { DriveRecord, EventRecord } from '../model/records.ts';
import { FULL_BYTES, conditionKey, driveCondition, endOf, openConditions } from './conditions.ts';

const drive: DriveRecord = {
  name: 'd',
  id: 'id-d',
  path: '/d.img',
  made: true,
  sparse: false,
  force: false,
  sizeBytes: undefined,
  state: 'ready',
  createdAtMs: 0,
};
const events = (...kinds: readonly Pick<EventRecord, 'kind' | 'subject'>[]): EventRecord[] =>
  kinds.map((each, at) => ({ id: `${at}`, atMs: at, what: '', ...each })).toReversed();

test('a drive that is not open is faulted, with what the engine says', () => {
  const full = { wasFull: false };
  assert.equal(driveCondition(drive, { state: 'open', freeBytes: 1e12 }, full), undefined);
  assert.equal(driveCondition({ ...drive, state: 'adding' }, undefined, full), undefined);
  const faulted = driveCondition(drive, { state: 'faulted', reason: 'EIO' }, full);
  assert.deepEqual([faulted?.begin, faulted?.cause], ['drive.faulted', 'EIO']);
  assert.equal(driveCondition(drive, { state: 'read-only' }, full)?.begin, 'drive.faulted');
  assert.match(driveCondition(drive, undefined, full)?.what ?? '', /not open/);
});

test('a drive stays full until there is twice the room', () => {
  const status = (freeBytes: number) => ({ state: 'open', freeBytes });
  const begun = driveCondition(drive, status(FULL_BYTES - 1), { wasFull: false });
  assert.equal(begun?.begin, 'drive.full');
  assert.equal(driveCondition(drive, status(FULL_BYTES), { wasFull: false }), undefined);
  assert.equal(driveCondition(drive, status(FULL_BYTES), { wasFull: true })?.begin, 'drive.full');
  assert.equal(driveCondition(drive, status(2 * FULL_BYTES), { wasFull: true }), undefined);
});

test('what was told and has not ended is open, from the records', () => {
  const open = openConditions(
    events(
      { kind: 'engine.away', subject: 'process/engine' },
      { kind: 'drive.faulted', subject: 'drive/d' },
      { kind: 'drive.faulted', subject: 'drive/e' },
      { kind: 'engine.back', subject: 'process/engine' },
      { kind: 'drive.recovered', subject: 'drive/e' },
      { kind: 'volume.reattached', subject: 'volume/v' },
      {},
    ),
  );
  assert.deepEqual(
    [...open.keys()],
    [conditionKey({ subject: 'drive/d', begin: 'drive.faulted' })],
  );
  const [[, condition]] = open as unknown as [[string, Parameters<typeof endOf>[0]]];
  assert.equal(condition.sinceMs, 1);
  assert.deepEqual(endOf(condition), { kind: 'drive.recovered', what: 'Drive "d" is open again' });
});
