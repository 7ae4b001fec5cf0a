import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal, readJournal } from './journal.ts';

test('Journal holds every entry that was added, in the order of each writer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
  try {
    const path = join(folder, 'journal');
    const journal = await Journal.create(path);
    const write = async (writer: number): Promise<void> => {
      for (let sequence = 1; sequence <= 50; sequence++) await journal.add({ writer, sequence });
    };
    await Promise.all([write(1), write(2), write(3)]);
    // Each entry was on media when its `add` resolved: nothing is left for the close to write.
    const entries = await readJournal(path);
    await journal.close();
    for (const writer of [1, 2, 3]) {
      const sequences = entries.filter((each) => each.writer === writer).map((e) => e.sequence);
      assert.deepEqual(
        sequences,
        Array.from({ length: 50 }, (_, i) => i + 1),
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('after a crash a writer begins with a number that cannot be there, also where it had not got further than its first', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
  try {
    const journal = await Journal.create(join(folder, 'journal'));
    assert.equal(journal.startOf(1), 1);
    await journal.add({ writer: 1, sequence: 1 });
    assert.equal(journal.startOf(1), 3, 'number 2 was under way');
    assert.equal(journal.startOf(1), 5, 'number 3 was');
    await journal.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
