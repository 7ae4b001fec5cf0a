import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { type Operation, Operations } from './operations.ts';

const range = (firstBlock: number, blockCount: number) => ({
  offsetBytes: firstBlock * BLOCK_BYTES,
  lengthBytes: blockCount * BLOCK_BYTES,
});

test('a change waits for what came before and overlaps it, and so does a read of it', () => {
  const operations = new Operations();
  const first = operations.add('write', 1, range(0, 4));
  const read = operations.add('read', 2, range(3, 2));
  const beside = operations.add('write', 3, range(5, 1));
  const over = operations.add('trim', 4, range(4, 1));
  assert.deepEqual(
    [first, read, beside, over].map((each) => each.waitsFor),
    [0, 1, 0, 1],
  );
  assert.ok(operations.remove(first), 'the read is free');
  assert.equal(read.waitsFor, 0);
  // The read that came before still holds it.
  assert.equal(over.waitsFor, 1);
  assert.ok(!operations.remove(beside), 'nothing waited for it');
});

test('reads share, a flush has no range, and parts of one block overlap', () => {
  const operations = new Operations();
  operations.add('read', 1, range(0, 4));
  assert.equal(operations.add('read', 2, range(0, 4)).waitsFor, 0);
  assert.equal(operations.add('flush', 3).waitsFor, 0);
  operations.add('write', 4, { offsetBytes: 8 * BLOCK_BYTES, lengthBytes: 512 });
  const other = operations.add('write', 5, {
    offsetBytes: 8 * BLOCK_BYTES + 512,
    lengthBytes: 512,
  });
  assert.equal(other.waitsFor, 1);
});

test('one that is over is handed out again only after it was recycled', () => {
  const operations = new Operations();
  const over: Operation = operations.add('write', 1, range(0, 1));
  operations.remove(over);
  operations.remove(over);
  const next = operations.add('write', 2, range(0, 1));
  assert.notEqual(next, over);
  operations.remove(over);
  assert.equal(operations.size, 1);
  operations.recycle();
  assert.equal(operations.add('read', 3, range(0, 1)), over);
  assert.equal(over.started, false);
});

test('an id finds its operation while that is active, however many there are', () => {
  const operations = new Operations();
  const all = Array.from({ length: 3000 }, (_, index) =>
    operations.add('write', index, range(index, 1)),
  );
  for (const each of all) assert.equal(operations.find(each.id), each);
  const stays = all[1];
  for (const each of all) if (each !== stays) operations.remove(each);
  for (const each of all) assert.equal(operations.find(each.id), each === stays ? each : undefined);
  operations.recycle();
  const ids = new Set(all.map(({ id }) => id));
  for (let i = 0; i < 10_000; i++) {
    const next = operations.add('write', i, range(i, 1));
    assert.ok(!ids.has(next.id), 'no id comes twice');
    ids.add(next.id);
    operations.remove(next);
    operations.recycle();
  }
  assert.equal(operations.find(stays?.id ?? 0), stays);
});

test('requests of clients are counted until they are over', () => {
  const operations = new Operations();
  const write = operations.add('write', 0, range(0, 1));
  operations.add('hold', -1, range(1, 1));
  const read = operations.add('read', 7, range(2, 1));
  assert.equal(operations.clientCount, 2);
  operations.remove(write);
  operations.remove(write);
  operations.remove(read);
  assert.equal(operations.clientCount, 0);
});
