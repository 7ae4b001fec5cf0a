import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChangeHistory } from './change-history.ts';
import { stampedBytes } from './stamps.ts';

const RANGE = { firstSector: 8, sectorCount: 2 };

/** Three changes and a flush, each sent and answered one tick after the other. */
function history(): ChangeHistory {
  let timeNs = 0;
  const made = new ChangeHistory(7, () => ++timeNs);
  made.changeSent(RANGE, 1).acknowledged({ durable: false }); // 1, 2
  const flush = made.flushSent(); // 3
  made.changeSent(RANGE, 2).acknowledged({ durable: false }); // 4, 5
  flush.acknowledged(); // 6
  made.changeSent({ firstSector: 8, sectorCount: 1 }, 3).acknowledged({ durable: true }); // 7, 8
  return made;
}

test('legalVersions follows sending, flush and FUA', () => {
  const made = history();
  assert.deepEqual(made.legalVersions(8, 0), [0]);
  assert.deepEqual(made.legalVersions(8, 2), [0, 1]);
  assert.deepEqual(made.legalVersions(8, 5), [0, 1, 2], 'the flush has not returned yet');
  assert.deepEqual(made.legalVersions(8, 6), [1, 2], 'the flush was sent before change 2');
  assert.deepEqual(made.legalVersions(8, 7), [1, 2, 3]);
  assert.deepEqual(made.legalVersions(8, 8), [3], 'FUA: acknowledged is durable');
  assert.deepEqual(made.legalVersions(9, 8), [1, 2]);
  assert.deepEqual(made.legalVersions(100, 8), [0]);
});

test('mismatches names lost flushed data and foreign bytes, sector by sector', () => {
  const made = history();
  const mixed = Buffer.concat([
    stampedBytes(7, { firstSector: 8, sectorCount: 1 }, 3),
    stampedBytes(7, { firstSector: 9, sectorCount: 1 }, 1),
  ]);
  assert.deepEqual(made.mismatches(8, mixed, 8), []);
  assert.deepEqual(made.mismatches(8, Buffer.alloc(1024), 6), [
    { sector: 8, legal: [1, 2], found: 0 },
    { sector: 9, legal: [1, 2], found: 0 },
  ]);
  mixed[600] = 0xff;
  assert.deepEqual(made.mismatches(8, mixed, 8), [{ sector: 9, legal: [1, 2], found: -1 }]);
});
