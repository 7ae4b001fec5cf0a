/** Kills the engine at random moments under a load that never fails, and measures how long each kill stalls it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Prng } from '../../src/lib/prng.ts';
import type { CommitClock } from '../../src/tour/commit-clock.ts';
import type { EngineKiller } from './engine-killer.ts';
import type { KillPlan } from './kill-plan.ts';

/** What must be done after a kill before the next one: the load has really gone on. */
const DONE_BETWEEN = 5;
const POLL_MS = 5;

export type StalledLoad = {
  readonly killer: EngineKiller;
  /** Notes whatever the load has done. */
  readonly clock: CommitClock;
  /** Rejects, or ends, when the load does: then nothing more is killed. */
  readonly running: Promise<void>;
  /** What is done, in words. */
  readonly unit: string;
};

/** Resolves with the longest time around each kill in which nothing was done. Throws when nothing is done any more. */
export async function killUnderLoad(under: StalledLoad, plan: KillPlan): Promise<number[]> {
  const { killer, clock, unit } = under;
  const random = new Prng(plan.seed);
  let isOver = false;
  const ended = under.running.finally(() => (isOver = true));
  // Whoever started the load hears of its failure; here it only ends the kills.
  ended.catch(() => undefined);
  const during = async (ms: number): Promise<void> => await Promise.race([sleep(ms), ended]);
  const stallsMs: number[] = [];
  for (let kill = 0; kill < plan.killCount && !isOver; kill++) {
    await during(1 + random.below(plan.uptimeMsMax));
    clock.takeLongestGapMs();
    const countBefore = clock.count;
    const pid = await killer.kill();
    const deadlineMs = performance.now() + plan.recoveryLimitMs;
    while (clock.count < countBefore + DONE_BETWEEN && !isOver) {
      if (performance.now() > deadlineMs) {
        throw new Error(`No ${unit} for ${plan.recoveryLimitMs} ms after a kill`);
      }
      await during(POLL_MS);
    }
    stallsMs.push(clock.takeLongestGapMs());
    plan.onProgress(
      `kill ${kill + 1}/${plan.killCount}: engine ${pid}, ${clock.count} ${unit}, ` +
        `none for ${Math.round(stallsMs.at(-1) ?? 0)} ms`,
    );
  }
  return stallsMs;
}
