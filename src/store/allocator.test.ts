import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../lib/prng.ts';
import { Allocator } from './allocator.ts';

/** Compares everything that can be asked with the cells that are taken. */
function compare(allocator: Allocator, taken: ReadonlySet<number>): void {
  assert.equal(allocator.freeCount, allocator.cellCount - taken.size);
  for (let cell = 0; cell < allocator.cellCount; cell++) {
    assert.equal(allocator.isTaken(cell), taken.has(cell), `cell ${cell}`);
  }
}

test('an allocator agrees with a set over random takes, frees and flushes', () => {
  // 40 cells a chunk: the second word of a bitmap is partly used.
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed);
    const allocator = new Allocator({ chunkCount: 3, cellsPerChunk: 40 });
    const taken = new Set<number>();
    const limbo: { readonly cell: number; readonly lsn: number }[] = [];
    let lsn = 0;
    let chunkCount = 3;
    for (let step = 0; step < 3000; step++) {
      const at = prng.below(100);
      if (at < 45) {
        const cell = allocator.take();
        assert.equal(
          cell === -1,
          taken.size === allocator.cellCount,
          'none only when there is none',
        );
        assert.ok(!taken.has(cell), `cell ${cell} was taken already`);
        if (cell >= 0) taken.add(cell);
      } else if (at < 80 && taken.size > 0) {
        const cell = prng.pick(
          [...taken].filter((each) => !limbo.some((freed) => freed.cell === each)).concat(-1),
        );
        if (cell < 0) continue;
        lsn += prng.below(3);
        allocator.limbo(cell, lsn);
        limbo.push({ cell, lsn });
      } else if (at < 98) {
        const durable = lsn - prng.below(4);
        const freed = limbo.filter((each) => each.lsn <= durable);
        assert.equal(allocator.settle(durable), freed.length);
        for (const { cell } of freed) taken.delete(cell);
        limbo.splice(0, freed.length);
      } else if (chunkCount < 8) allocator.grow(++chunkCount);
      assert.equal(allocator.limboCount, limbo.length);
      if (step % 100 === 0) compare(allocator, taken);
    }
    compare(allocator, taken);
  }
});

test('a cell in limbo is not given out until its frame is durable', () => {
  const allocator = new Allocator({ chunkCount: 1, cellsPerChunk: 2 });
  const first = allocator.take();
  const second = allocator.take();
  allocator.limbo(first, 7);
  allocator.limbo(second, 9);
  assert.equal(allocator.limboLsn, 9);
  assert.equal(allocator.settle(6), 0);
  assert.equal(allocator.take(), -1);
  assert.equal(allocator.settle(8), 1);
  assert.equal(allocator.take(), first);
  assert.equal(allocator.take(), -1);
});

test('cells taken one after the other lie next to each other, and limbo of thousands empties', () => {
  const allocator = new Allocator({ chunkCount: 4, cellsPerChunk: 1008 });
  const cells = Array.from({ length: 4032 }, () => allocator.take());
  assert.deepEqual(
    cells,
    Array.from({ length: 4032 }, (_, index) => index),
  );
  for (const cell of cells) allocator.limbo(cell, cell);
  for (let durable = 0; durable < 4032; durable += 3) allocator.settle(durable);
  assert.equal(allocator.settle(4031), 2);
  assert.equal(allocator.limboCount, 0);
  assert.equal(allocator.freeCount, 4032);
});

test('taking a cell twice and giving back a free one are bugs', () => {
  const allocator = new Allocator({ chunkCount: 1, cellsPerChunk: 4 });
  allocator.mark(2);
  assert.throws(() => allocator.mark(2), /one owner/);
  assert.throws(() => allocator.unmark(1), /only a taken cell/);
});
