import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { recordsInode } from './drive-file.ts';
import { refuseCopied } from './lost-records.ts';
import { restoreEntries } from './store-move.ts';

test('records that are a copy are refused where a drive lies outside, and put back from a backup they are not', async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-lost-records-'));
  try {
    await restoreEntries(directory, []);
    const list = (records: number | undefined, at: string): void => {
      const text = JSON.stringify({ version: 1, records, drives: [{ driveId: 'd', path: at }] });
      fs.writeFileSync(path.join(directory, 'engine.json'), text);
    };
    const own = recordsInode(directory);
    assert.ok(own !== undefined);
    list(own, '/outside.img');
    refuseCopied(directory);
    list(own + 1, 'drives/default.img');
    refuseCopied(directory);
    list(own + 1, '/outside.img');
    assert.throws(() => refuseCopied(directory), /are a copy, and the drive "\/outside.img"/);
    await restoreEntries(directory, []);
    refuseCopied(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});
