/** The short form of `npm run chaos:kill`: three kills on each path. */

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Installation } from '../bench/lib/installation.ts';
import { median } from '../bench/lib/statistics.ts';
import { findPostgres } from '../src/tour/postgres.ts';
import { whyNot } from './rigs/attach-rig.ts';
import type { KillOutcome, KillPlan } from './rigs/kill-plan.ts';
import { killUnderMount } from './rigs/kill-mount.ts';
import { killUnderNbd } from './rigs/kill-nbd.ts';
import { killUnderPostgres } from './rigs/kill-postgres.ts';

const DRIVE_BYTES = 2 ** 30;
const KILLS = 3;

function plan(seed: number): KillPlan {
  return {
    killCount: KILLS,
    seed,
    uptimeMsMax: 700,
    recoveryLimitMs: 30_000,
    onProgress: () => undefined,
  };
}

async function inInstallation(
  use: (installation: Installation) => Promise<KillOutcome>,
): Promise<KillOutcome> {
  const installation = new Installation({
    dataFolder: mkdtempSync(join(tmpdir(), 'holdfast-kill-')),
  });
  try {
    await installation.up({ driveSizeBytes: DRIVE_BYTES });
    return await use(installation);
  } finally {
    await installation.remove();
  }
}

test('three kills of the engine lose nothing acknowledged through NBD', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const outcome = await inInstallation((installation) => killUnderNbd(installation, plan(seed)));
  assert.deepEqual(outcome.lost, [], `seed ${seed}`);
  assert.equal(outcome.recoveryMs.length, KILLS);
  // The bar of 2 s is for a machine that does nothing else; a shared one gets the median, once over.
  assert.ok(
    median(outcome.recoveryMs) < 4000,
    `served again after ${String(outcome.recoveryMs)} ms`,
  );
});

for (const fileSystem of ['ext4', 'xfs'] as const) {
  const skip = whyNot('fio', `mkfs.${fileSystem}`);
  test(
    `three kills of the engine stall a mounted ${fileSystem} and fail nothing`,
    skip === undefined ? {} : { skip },
    async () => {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const outcome = await inInstallation((installation) =>
        killUnderMount(installation, plan(seed), fileSystem),
      );
      assert.deepEqual(outcome.lost, [], `seed ${seed}`);
      assert.equal(outcome.recoveryMs.length, KILLS);
    },
  );
}

const skipPostgres =
  whyNot('mkfs.ext4') ?? (findPostgres() === undefined ? 'PostgreSQL is not installed' : undefined);

test(
  'three kills of the engine lose no COMMIT that returned',
  skipPostgres === undefined ? {} : { skip: skipPostgres },
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const outcome = await inInstallation((installation) =>
      killUnderPostgres(installation, plan(seed)),
    );
    assert.deepEqual(outcome.lost, [], `seed ${seed}`);
  },
);
