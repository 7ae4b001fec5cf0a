import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TurnClock } from './turn-clock.ts';

test('TurnClock reads once in a turn, and anew in the next', () => {
  let nowMs = 10;
  let readings = 0;
  const io = { turnCount: 1 };
  const bootMs = (): number => {
    readings++;
    return nowMs;
  };
  const clock = new TurnClock({ clock: { bootMs }, io });
  assert.equal(clock.now(), 10);
  nowMs = 20;
  assert.equal(clock.now(), 10);
  assert.equal(readings, 1);
  io.turnCount++;
  assert.equal(clock.now(), 20);
});
