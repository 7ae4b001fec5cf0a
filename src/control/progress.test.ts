import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { OperationRecord } from '../model/records.ts';
import { ProgressBoard } from './progress.ts';

const OPERATION: OperationRecord = {
  id: 'o',
  kind: 'drive.add',
  target: 'drive/d',
  state: 'running',
  startedAtMs: 0,
  endedAtMs: undefined,
  error: undefined,
};

test('watchers hear of a target once a second, and of the last that was shown', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const board = new ProgressBoard();
  const heard: string[] = [];
  board.watch((operation, { phase, amount }) =>
    heard.push(`${operation.id} ${phase} ${amount?.done}`),
  );
  board.show('drive/d', 'before it begins');
  board.clear('drive/d');
  context.mock.timers.tick(1000);
  board.begin(OPERATION);
  for (let done = 0; done < 100; done++) {
    board.show('drive/d', 'formatting', { done, total: 100, unit: 'bytes' });
  }
  board.show('volume/other', 'attaching');
  assert.deepEqual(heard, ['o formatting 0']);
  assert.equal(board.of('drive/d')?.amount?.done, 99, 'who asks is told at once');
  context.mock.timers.tick(1000);
  assert.deepEqual(heard, ['o formatting 0', 'o formatting 99']);
  context.mock.timers.tick(5000);
  assert.equal(heard.length, 2, 'what stays the same is no news');
  board.show('drive/d', 'opening');
  board.show('drive/d', 'done');
  board.end(OPERATION);
  context.mock.timers.tick(5000);
  assert.deepEqual(heard.slice(2), ['o opening undefined']);
  assert.equal(board.of('drive/d'), undefined);
  assert.ok(!board.isUnderWay('o'));
  assert.equal(board.newest()?.target, 'volume/other');
  board.clear('volume/other');
  assert.equal(board.newest(), undefined);
});
