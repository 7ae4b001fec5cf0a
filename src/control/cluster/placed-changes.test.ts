import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PlacedChanges } from './placed-changes.ts';

test('what moves no replica is no news: attachments, epochs, usage', () => {
  const changes = new PlacedChanges();
  const volume = { id: 'v', state: 'ready', sizeBytes: 1, replication: { count: 2 } };
  const set = { members: [['r', 1]], minimum: 1, epoch: 5 };
  assert.equal(changes.isNews('volume/db', volume), true, 'it was not heard of before');
  assert.equal(changes.isNews('volume/db', { ...volume, attachment: { node: 'a' } }), false);
  assert.equal(changes.isNews('volume/db', { ...volume, replication: { count: 3 } }), true);
  assert.equal(changes.isNews('set/v', set), true);
  assert.equal(changes.isNews('set/v', { ...set, epoch: 6 }), false);
  assert.equal(changes.isNews('set/v', { ...set, members: [] }), true);
  assert.equal(changes.isNews('drive-use/d', { state: 'open', usedBytes: 1 }), true);
  assert.equal(changes.isNews('drive-use/d', { state: 'open', usedBytes: 2 }), false);
  assert.equal(changes.isNews('drive-use/d', { state: 'faulted', usedBytes: 2 }), true);
  assert.equal(changes.isNews('usage/v', {}), false);
});

test('what is deleted is news, and so is what comes back', () => {
  const changes = new PlacedChanges();
  const alive = { node: 'a', bootId: 'b' };
  assert.equal(changes.isNews('alive/a', alive), true);
  assert.equal(changes.isNews('alive/a', undefined), true);
  assert.equal(changes.isNews('alive/a', alive), true);
});
