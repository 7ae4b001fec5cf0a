import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../../model/errno.ts';
import { Merges } from './merges.ts';
import { KIND_MERGED, KIND_SHIFT, OP_READ, OP_WRITE } from './operations.ts';
import type { Ring } from './ring.ts';

const BLOCK = 4096;
const FD = 7;

/** One entry as the reactor fills it: a transfer of two blocks at block 10 of the file, 20 of memory. */
function pending(opcode: number): { readonly sqe: Uint32Array; readonly merges: Merges } {
  const sqe = new Uint32Array(16);
  sqe.set([opcode, FD, 10 * BLOCK, 0, 20 * BLOCK, 0, 2 * BLOCK, 0, 1, FD]);
  // A double with all that Merges looks at; the real ring is in the compliance suite.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const ring = { sqe, newest: () => 0 } as unknown as Ring;
  return { sqe, merges: new Merges(ring) };
}

/** What an entry's end tells and submits anew. */
function ended(merges: Merges, sqe: Uint32Array, result: number): string[] {
  const told: string[] = [];
  merges.end(sqe[8]!, FD, result, {
    end: (_, tag, length) => told.push(`${tag} ${length}`),
    transfer: (opcode, tag, _, position, address, length) =>
      told.push(
        `${tag} again ${[opcode, position / BLOCK, address / BLOCK, length / BLOCK].join(' ')}`,
      ),
  });
  return told;
}

test('a transfer joins one of its kind that ends where it begins, and no other', () => {
  for (const [opcode, fd, position, address, joins] of [
    [OP_WRITE, FD, 12, 22, true],
    [OP_READ, FD, 12, 22, false],
    [OP_WRITE, 8, 12, 22, false],
    [OP_WRITE, FD, 13, 22, false],
    [OP_WRITE, FD, 12, 23, false],
    [OP_WRITE, FD, 10, 20, false],
  ] as const) {
    const { sqe, merges } = pending(OP_WRITE);
    const before = [...sqe];
    assert.equal(merges.join(opcode, 2, fd, position * BLOCK, address * BLOCK, BLOCK), joins);
    if (!joins) assert.deepEqual([...sqe], before);
    else {
      assert.equal(sqe[6], 3 * BLOCK);
      assert.equal(sqe[9]! >>> KIND_SHIFT, KIND_MERGED);
    }
  }
});

test('an entry holds 256 KiB at most', () => {
  const { merges } = pending(OP_WRITE);
  let end = 2;
  while (merges.join(OP_WRITE, 2, FD, (10 + end) * BLOCK, (20 + end) * BLOCK, BLOCK)) end += 1;
  assert.equal(end, 64);
});

test('each transfer has its own result; what is not covered whole goes again by itself', () => {
  const again2 = `2 again ${OP_WRITE} 12 22 1`;
  const again3 = `3 again ${OP_WRITE} 13 23 2`;
  for (const [result, told] of [
    [5 * BLOCK, [`1 ${2 * BLOCK}`, `2 ${BLOCK}`, `3 ${2 * BLOCK}`]],
    [4 * BLOCK, [`1 ${2 * BLOCK}`, `2 ${BLOCK}`, again3]],
    [2 * BLOCK, [`1 ${2 * BLOCK}`, again2, again3]],
    [-EIO, [`1 again ${OP_WRITE} 10 20 2`, again2, again3]],
  ] as const) {
    const { sqe, merges } = pending(OP_WRITE);
    assert.ok(merges.join(OP_WRITE, 2, FD, 12 * BLOCK, 22 * BLOCK, BLOCK));
    assert.ok(merges.join(OP_WRITE, 3, FD, 13 * BLOCK, 23 * BLOCK, 2 * BLOCK));
    assert.deepEqual(ended(merges, sqe, result), told);
  }
});

test('numbers are used again, and where none is free a transfer stays alone', () => {
  const { sqe, merges } = pending(OP_READ);
  const entry = [...sqe];
  const open: Uint32Array[] = [];
  for (;;) {
    sqe.set(entry);
    if (!merges.join(OP_READ, 2, FD, 12 * BLOCK, 22 * BLOCK, BLOCK)) break;
    open.push(sqe.slice());
  }
  assert.equal(open.length, 2048);
  for (const each of open) assert.equal(ended(merges, each, 3 * BLOCK).length, 2);
  sqe.set(entry);
  assert.ok(merges.join(OP_READ, 2, FD, 12 * BLOCK, 22 * BLOCK, BLOCK));
});
