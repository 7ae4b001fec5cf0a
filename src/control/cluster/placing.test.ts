import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { NOBODY_AWAY, clusterOf } from './placing.ts';

test('what a replica takes is the most that one was seen to take', async () => {
  const { records } = memoryRecords();
  const replication = { count: 1, spread: { level: 'node', isHard: true }, local: false };
  const volume = { drive: '', state: 'ready', sizeBytes: 2 ** 30, replication };
  await records.change({
    puts: [
      { key: 'volume/old', record: { ...volume, name: 'old', id: 'v' } },
      { key: 'volume/new', record: { ...volume, name: 'new', id: 'w' } },
      { key: 'usage/v', record: { volumeId: 'v', highWaterBytes: 4096, changes: 1 } },
    ],
  });
  const cluster = await clusterOf(records, NOBODY_AWAY);
  assert.deepEqual(
    ['old', 'new'].map((name) => cluster.volume(name)?.writtenBytes),
    [4096, 0],
  );
});
