import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from './prng.ts';

test('Prng gives the same sequence for a seed and another for the next', () => {
  const draw = (seed: number): number[] => {
    const prng = new Prng(seed);
    return Array.from({ length: 8 }, () => prng.next());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  assert.notDeepEqual(draw(7), draw(7 + 2 ** 32));
});

test('Prng.below covers its range evenly', () => {
  const prng = new Prng(1);
  const counts = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 60_000; i++) counts[prng.below(6)]!++;
  for (const count of counts) assert.ok(count > 9500 && count < 10_500, counts.join());
});

test('Prng.chance keeps its percentage', () => {
  const prng = new Prng(2);
  let hits = 0;
  for (let i = 0; i < 100_000; i++) if (prng.chance(3)) hits++;
  assert.ok(hits > 2700 && hits < 3300, `${hits}`);
  assert.equal(prng.chance(0), false);
  assert.equal(prng.chance(100), true);
});
