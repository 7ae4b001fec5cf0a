import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IntMap } from './int-map.ts';

test('an IntMap agrees with a Map over random sets and deletes', () => {
  const map = new IntMap(200);
  const model = new Map<number, number>();
  let state = 12345;
  const next = (bound: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % bound;
  };
  for (let step = 0; step < 200_000; step++) {
    const key = next(300) * (1 + next(3) * 7919);
    if (model.size < 200 && next(2) === 0) {
      map.set(key, step);
      model.set(key, step);
    } else {
      map.delete(key);
      model.delete(key);
    }
    const probe = next(300);
    assert.equal(map.get(probe), model.get(probe) ?? -1);
  }
  assert.equal(map.size, model.size);
  for (const [key, value] of model) assert.equal(map.get(key), value);
});
