import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, MemoryNbdServer } from '../../test/rigs/memory-nbd-server.ts';
import { CommitClock } from './commit-clock.ts';
import type { Comparison } from './comparison.ts';
import { Journal, readJournal } from './journal.ts';
import { SocketLoad, compareVolume } from './socket-load.ts';

const SIZE_BYTES = 64 * 2 ** 20;

/** A load whose server is killed once in the middle. */
async function runLoad(fault: Fault): Promise<Comparison> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-load-'));
  const server = new MemoryNbdServer(join(folder, 'nbd'), { sizeBytes: SIZE_BYTES, fault });
  const volume = { uri: server.uri, sizeBytes: SIZE_BYTES };
  await server.start();
  try {
    const journalPath = join(folder, 'journal');
    const journal = await Journal.create(journalPath);
    const clock = new CommitClock(() => performance.now());
    const load = new SocketLoad(volume, journal, clock);
    const running = load.run();
    await sleep(200);
    await server.kill();
    await sleep(200);
    load.stop();
    await running;
    await journal.close();
    assert.ok(clock.count > 0);
    return await compareVolume(volume, await readJournal(journalPath));
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}

test('SocketLoad goes on over a kill, and finds all that was acknowledged', async () => {
  const { committed, found, lost } = await runLoad({ kind: 'none' });
  assert.ok(committed > 0);
  assert.equal(found, committed);
  assert.deepEqual(lost, []);
});

test('compareVolume catches a server that forgets acknowledged writes when it is killed', async () => {
  const { lost } = await runLoad({ kind: 'forget', changeCount: 8 });
  // Of the eight, those that were not journaled yet may be written again.
  assert.ok(lost.length >= 4, `${lost.length} lost`);
});
