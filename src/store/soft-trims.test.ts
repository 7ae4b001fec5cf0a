import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SoftTrims } from './soft-trims.ts';

test('blocks trimmed by a frame that is not durable are soft until it is', () => {
  const trims = new SoftTrims();
  trims.add(5, 0b0011, 10);
  assert.equal(trims.mask(5, 9), 0b0011);
  assert.equal(trims.mask(6, 9), 0);
  assert.equal(trims.mask(5, 10), 0);
});

test('of several trims of a cell, all are soft until the last is durable', () => {
  const trims = new SoftTrims();
  trims.add(5, 0b0001, 10);
  trims.add(5, 0b1000, 12);
  assert.equal(trims.mask(5, 9), 0b1001);
  // The first is durable by now; to say otherwise of it costs a write, to forget the second would cost data.
  assert.equal(trims.mask(5, 11) & 0b1000, 0b1000);
  assert.equal(trims.mask(5, 12), 0);
});

test('settling forgets what is durable and nothing else', () => {
  const trims = new SoftTrims();
  trims.add(1, 1, 10);
  trims.add(2, 2, 11);
  trims.settle(10);
  assert.equal(trims.mask(1, 0), 0);
  assert.equal(trims.mask(2, 0), 2);
});
