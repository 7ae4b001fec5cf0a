import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MarkBook, markBlocks, type Marks, marksMax } from './marks.ts';

const extents = (marks: Marks, count: number): number[] => {
  const found: number[] = [];
  marks.forEach(0, count, (extent) => found.push(extent));
  return found.toSorted((a, b) => a - b);
};

test('a mark has the blocks of all its changes, and goes with the newest', () => {
  const book = new MarkBook(10);
  const marks = book.open();
  book.add(marks, 7, { mask: 1, epoch: 3, number: 20 });
  book.add(marks, 7, { mask: 8, epoch: 2, number: 30 });
  assert.deepEqual(marks.byExtent.get(7), { mask: 9, epoch: 3, number: 30 });
  book.drop(marks, 3, 30);
  assert.equal(book.count, 1);
  book.drop(marks, 3, 31);
  assert.equal(book.count, 0);
});

test('at the bound the volume with the most marks gets coarser ones, as often as it takes', () => {
  const book = new MarkBook(4);
  const [many, few] = [book.open(), book.open()];
  book.add(few, 5, { mask: 1, epoch: 1, number: 1 });
  for (const extent of [0, 1, 100, 300, 5000])
    book.add(many, extent, { mask: 2, epoch: 1, number: extent + 1 });
  assert.ok(book.count <= 4);
  assert.equal(few.grain, 0);
  assert.equal(many.grain, 8);
  assert.deepEqual(extents(many, 6000).length, 256 * 3);
  assert.deepEqual(many.byExtent.get(0), { mask: 2, epoch: 1, number: 101 });
  book.drop(many, 1, 10_000);
  assert.equal(many.grain, 0, 'what is marked next is exact again');
});

test('a coarse mark from the log makes its volume as coarse', () => {
  const book = new MarkBook(100);
  const marks = book.open();
  book.add(marks, 3, { mask: 1, epoch: 1, number: 1 });
  book.add(marks, 16, { mask: 4, epoch: 1, number: 2 }, 4);
  assert.deepEqual(
    extents(marks, 100),
    Array.from({ length: 32 }, (_, extent) => extent),
  );
  book.close(marks);
  assert.equal(book.count, 0);
});

test('a log has room for the marks of two checkpoints', () => {
  for (const logBlocks of [216, 16_384, 131_072]) {
    assert.ok(marksMax(logBlocks) <= (markBlocks(logBlocks) - 4) * 168);
    assert.ok(2 * markBlocks(logBlocks) <= logBlocks / 12);
  }
});
