import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MemoryUses } from './memory-uses.ts';

test('MemoryUses tells when the last use of a piece is over, also at the end of 4 GiB', () => {
  const uses = new MemoryUses(new WebAssembly.Memory({ initial: 65_536, maximum: 65_536 }));
  for (const address of [4096, 2 ** 31, 2 ** 32 - 4096]) {
    assert.ok(!uses.isUsed(address));
    uses.use(address);
    // A write of less than a block begins further on.
    uses.use(address + 512);
    let isFree = false;
    uses.whenFree(address, () => (isFree = true));
    uses.release(address);
    assert.ok(!isFree && uses.isUsed(address));
    uses.release(address + 512);
    assert.ok(isFree && !uses.isUsed(address));
  }
  let isCalled = false;
  uses.whenFree(4096, () => (isCalled = true));
  assert.ok(isCalled);
});
