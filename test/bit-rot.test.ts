/** The short form of `npm run chaos:rot`: bytes of every metadata page, of the log and of the data, at wide strides. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Poisoned, RotImage } from './rigs/rot-image.ts';
import { runRot, type RotReport } from './rigs/rot-run.ts';

/** Pages that exist twice: one rotten copy must heal from the other, so that nothing at all is lost. */
const TWICE = ['superblock', 'directory', 'table', 'chunk metadata'] as const;

async function rot(killed: boolean, strideFactor: number): Promise<RotReport> {
  const image = await RotImage.make({ seed: 1, killed });
  const strides = {
    superblock: 97 * strideFactor,
    directory: 97 * strideFactor,
    table: 97 * strideFactor,
    'chunk metadata': 97 * strideFactor,
    log: 1999 * strideFactor,
    data: 1999 * strideFactor,
  };
  return await runRot(image, { seed: 1, strides });
}

for (const { killed, strideFactor } of [
  { killed: true, strideFactor: 5 },
  { killed: false, strideFactor: 9 },
]) {
  test(`a rotten byte is healed, refused or EIO, never wrong data (${killed ? 'killed' : 'closed'} drive)`, async () => {
    const report = await rot(killed, strideFactor);
    assert.deepEqual(report.poisoned, []);
    for (const region of TWICE) {
      const counts = report.outcomes.get(region);
      assert.ok(counts && counts.unharmed > 0, `no byte of the ${region} was flipped`);
      assert.deepEqual(
        [counts.errors, counts.refused],
        [0, 0],
        `${region}: a good copy was not used`,
      );
    }
    // Live data that rots must be noticed: a run without a single EIO flipped nothing that matters.
    assert.ok((report.outcomes.get('data')?.errors ?? 0) > 0);
  });
}

test('canary: the rig notices data that changes together with nothing', async () => {
  const image = await RotImage.make({ seed: 2, killed: false });
  image.expectOtherContent();
  await assert.rejects(() => image.flip(0, 1), Poisoned);
});
