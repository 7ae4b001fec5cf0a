/** The short form of the simulator: `npm run sim:long` has the long one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { driveStoreUnderTest } from './drive-store-under-test.ts';
import { enumerateCuts } from './enumerate.ts';
import { FOCUSES } from './focus.ts';
import { runSeeds } from './run-seeds.ts';

/** `npm run check` runs 50 of each focus besides: one that fails here is found by its name. */
const SEEDS = 2;

for (const focus of FOCUSES) {
  test(`the drive store keeps its promises: ${focus}`, async () => {
    const { failures } = await runSeeds(driveStoreUnderTest, {
      focus,
      firstSeed: 1,
      seedCount: SEEDS,
      seconds: Infinity,
      trace: false,
      keepGoing: false,
      print: () => undefined,
    });
    assert.deepEqual(failures, []);
  });
}

test('no cut of a short history loses what was flushed', async () => {
  const { cuts } = await enumerateCuts(driveStoreUnderTest, 3);
  assert.ok(cuts > 50, `${cuts} cuts`);
});
