import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { missing } from '../../bootstrap/debian-packages.mjs';
import { e2fsckPercent, make } from './file-systems.ts';

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

const [needed] = missing(['e2fsprogs']);
const skip = needed === undefined ? false : `not installed: ${needed}`;

test('a file system that is made on zeros writes no zeros, and is whole', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hf-file-systems-'));
  try {
    const device = join(folder, 'volume');
    writeFileSync(device, '');
    truncateSync(device, 2 ** 38);
    await make({ volume: 'v', device }, { fsType: 'ext4', isZeros: true });
    const allocatedBytes = statSync(device).blocks * 512;
    assert.ok(allocatedBytes < 64 * 2 ** 20, `${allocatedBytes} bytes for 256 GiB`);
    execFileSync('/usr/sbin/e2fsck', ['-f', '-n', device], { stdio: 'ignore' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
