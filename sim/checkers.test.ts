/** The checkers' own canaries: a plain store passes, and each way to break it is caught. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Focus } from './focus.ts';
import { RAW_FLAWS, rawStore, type RawFlaw } from './raw-store.ts';
import { runSeeds, type Outcome } from './run-seeds.ts';

const FOCUS: Partial<Record<RawFlaw, Focus>> = {
  'no-lock': 'late',
  'failed-write-destroys': 'failed-writes',
};

const run = (
  flaw: RawFlaw,
  seedCount: number,
  focus: Focus = FOCUS[flaw] ?? 'any',
): Promise<Outcome> =>
  runSeeds(rawStore(flaw), {
    focus,
    firstSeed: 1,
    seedCount,
    seconds: Infinity,
    trace: false,
    keepGoing: false,
    print: () => undefined,
  });

test('the checkers find nothing wrong with a plain store', async () => {
  const { failures } = await run('none', 100);
  assert.deepEqual(failures, []);
});

test('the checkers find nothing wrong with a plain store on a drive that fails to write', async () => {
  const { failures } = await run('none', 100, 'failed-writes');
  assert.deepEqual(failures, []);
});

for (const flaw of RAW_FLAWS.filter((name) => name !== 'none')) {
  test(`the checkers catch a store that ${flaw}`, async () => {
    const { failures } = await run(flaw, 500);
    assert.equal(failures.length, 1);
  });
}
