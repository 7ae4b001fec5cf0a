import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MemoryUses } from './memory-uses.ts';

const PIECE_BYTES = 3 * 4096;

test('MemoryUses tells when the last use of a part of a piece is over, also at the end of 4 GiB', () => {
  const uses = new MemoryUses(new WebAssembly.Memory({ initial: 65_536, maximum: 65_536 }));
  const pieces = [4096, 4096 + PIECE_BYTES, 2 ** 31, 2 ** 32 - PIECE_BYTES];
  for (const address of pieces) uses.addPiece(address, PIECE_BYTES);
  for (const address of pieces) {
    assert.ok(pieces.every((each) => !uses.isUsed(each)));
    uses.use(address + 512);
    uses.use(address + PIECE_BYTES - 4096);
    let isFree = false;
    uses.whenFree(address, () => (isFree = true));
    uses.release(address + 512);
    assert.ok(!isFree);
    assert.deepEqual(
      pieces.filter((each) => uses.isUsed(each)),
      [address],
    );
    uses.release(address + PIECE_BYTES - 4096);
    assert.ok(isFree);
  }
  let isCalled = false;
  uses.whenFree(4096, () => (isCalled = true));
  assert.ok(isCalled);
});
