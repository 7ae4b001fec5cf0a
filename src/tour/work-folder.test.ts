import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';

import { WorkFolders } from './work-folder.ts';

/** No process has it: the kernel's numbers end at 2^22. */
const DEAD_PID = 2 ** 22 + 1;

test('a tour sweeps what is left of dead ones whose installation is gone, but nothing that is in use', () => {
  const temporary = mkdtempSync(join(tmpdir(), 'hf-work-folder-'));
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = temporary;
  try {
    const dead = `holdfast-tour-${DEAD_PID}-dead`;
    const used = `holdfast-tour-${DEAD_PID}-used`;
    for (const name of [dead, used]) {
      mkdirSync(join(temporary, name, 'socket'), { recursive: true });
      mkdirSync(join(temporary, name, 'volume'));
    }
    // As a mount would have it.
    writeFileSync(join(temporary, used, 'volume', 'theirs'), '');
    const folders = new WorkFolders(join(temporary, 'data'));
    const made = basename(folders.make());
    assert.deepEqual(readdirSync(temporary).toSorted(), ['data', made, used].toSorted());
    folders.remove();
    assert.deepEqual(readdirSync(temporary), [used]);
    assert.deepEqual(readdirSync(join(temporary, used)).toSorted(), ['socket', 'volume']);
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(temporary, { recursive: true });
  }
});
