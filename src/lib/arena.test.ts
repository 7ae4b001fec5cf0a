import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Arena } from './arena.ts';

function newArena(): Arena {
  return new Arena(new WebAssembly.Memory({ initial: 4, maximum: 4 }));
}

test('Arena reserves disjoint, aligned pieces and never address 0', () => {
  const arena = newArena();
  const first = arena.reserve(100, 8);
  const second = arena.reserve(5000, 4096);
  const third = arena.reserve(1, 1);
  assert.ok(first > 0);
  assert.equal(second % 4096, 0);
  assert.ok(second >= first + 100);
  assert.equal(third, second + 5000);
  assert.equal(arena.usedBytes, third + 1 - first);
});

test('Arena refuses what does not fit and keeps what it had', () => {
  const arena = newArena();
  const usedBytes = arena.usedBytes;
  assert.throws(() => arena.reserve(arena.sizeBytes + 1, 1), /has room for/);
  assert.equal(arena.usedBytes, usedBytes);
  arena.reserve(arena.sizeBytes - usedBytes, 1);
  assert.throws(() => arena.reserve(1, 1), /has room for/);
});

test('Arena views name the same bytes', () => {
  const arena = newArena();
  const address = arena.reserve(8, 4);
  arena.view.setUint32(address, 0x01020304);
  assert.deepEqual([...arena.u8.subarray(address, address + 4)], [1, 2, 3, 4]);
  arena.u32[address / 4] = 7;
  assert.equal(arena.view.getUint32(address, true), 7);
});

test('Arena.part is bounded by what was reserved for it, and can be used again', () => {
  const arena = newArena();
  const part = arena.part(8192);
  const after = arena.reserve(1, 1);
  const first = part.reserve(4096, 4096);
  assert.equal(part.reserve(4096, 1), first + 4096);
  assert.equal(after, first + 8192);
  assert.throws(() => part.reserve(1, 1), /has room for/);
  part.reset();
  assert.equal(part.reserve(8192, 1), first);
});
