import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RequestQueue } from './request-queue.ts';

const sendAll = (queue: RequestQueue): number[] => {
  const slots: number[] = [];
  for (let slot = queue.send(); slot !== undefined; slot = queue.send()) slots.push(slot);
  return slots;
};

test('RequestQueue sends again what is unanswered, in the order it first came', () => {
  const queue = new RequestQueue(8);
  for (const slot of [5, 0, 7, 2, 3]) queue.add(slot);
  assert.deepEqual([queue.send(), queue.send(), queue.send()], [5, 0, 7]);
  queue.remove(0);
  queue.add(0);
  queue.rewind();
  assert.deepEqual(sendAll(queue), [5, 7, 2, 3, 0]);
  assert.equal(queue.allSent, true);
});

test('RequestQueue tells sent requests from those that wait', () => {
  const queue = new RequestQueue(4);
  queue.add(1);
  queue.add(2);
  queue.send();
  assert.deepEqual([queue.isSent(1), queue.isSent(2), queue.isSent(9)], [true, false, false]);
  queue.remove(2);
  assert.equal(queue.send(), undefined);
  queue.remove(1);
  assert.equal(queue.first(), undefined);
  queue.add(2);
  assert.deepEqual(sendAll(queue), [2]);
});
