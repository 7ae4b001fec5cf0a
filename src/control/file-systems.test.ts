import assert from 'node:assert/strict';
import { test } from 'node:test';

import { e2fsckPercent } from './file-systems.ts';

test('what e2fsck -C says is percent of all its passes, and anything else is nothing', () => {
  for (const [line, percent] of [
    ['1 0 16 /dev/loop0', 0],
    ['1 8 16 /dev/loop0', 35],
    ['2 1 1 /dev/loop0', 90],
    ['5 16 16 /dev/loop0', 100],
    ['6 1 1 /dev/loop0', undefined],
    ['1 1 0 /dev/loop0', undefined],
    ['/dev/loop0: clean', undefined],
  ] as const) {
    assert.equal(e2fsckPercent(line), percent, line);
  }
});
