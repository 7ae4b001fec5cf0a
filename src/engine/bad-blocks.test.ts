import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BadBlocks } from './bad-blocks.ts';

test('bad blocks are counted by volume, metadata apart, with the last place', () => {
  const bad = new BadBlocks();
  bad.add({ kind: 'checksum', volume: 'aa', offsetBytes: 4096 });
  bad.add({ kind: 'read', volume: 'aa', offsetBytes: 8192 });
  bad.add({ kind: 'checksum', volume: undefined, offsetBytes: 12_288 });
  assert.deepEqual(bad.list(), [
    { of: 'aa', checksumErrors: 1, readErrors: 1, offsetBytes: 8192 },
    { of: 'metadata', checksumErrors: 1, readErrors: 0, offsetBytes: 12_288 },
  ]);
});

test('the list is bounded, and no error goes uncounted', () => {
  const bad = new BadBlocks();
  for (let volume = 0; volume < 300; volume++)
    bad.add({ kind: 'checksum', volume: `${volume}`, offsetBytes: 0 });
  const list = bad.list();
  assert.equal(list.length, 17);
  const all = list.reduce((sum, { checksumErrors }) => sum + Number(checksumErrors), 0);
  assert.equal(all, 300);
  assert.equal(list.at(-1)?.['of'], 'others');
});
