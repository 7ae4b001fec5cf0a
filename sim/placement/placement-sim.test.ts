/** Some hundred seeds; `node sim/placement/main.ts --seeds 100000` runs more. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeed } from './placement-sim.ts';

test('placements are what their definition says, and refusals have no way around them', () => {
  const counts = new Map<string, number>();
  for (let seed = 1; seed <= 200; seed++) runSeed(seed, counts);
  for (const constraint of ['spread', 'liveness', 'service', 'tags', 'promised', 'space']) {
    assert.ok((counts.get(`refused: ${constraint}`) ?? 0) > 0, constraint);
  }
});
