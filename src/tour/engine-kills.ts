/** Kills the engine with SIGKILL at random moments under a load, and measures how long the load stands still. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { CommitClock } from './commit-clock.ts';
import type { Tour } from './guest.ts';

/** The load runs at least and at most this long between two kills. */
const UPTIME_MS_MIN = 1500;
const UPTIME_MS_MAX = 5000;
/** After a kill: the load goes on when this many commits have returned on the new engine. */
const COMMITS_AFTER = 20;
/** Issue 2: recovery takes at most 2 s and 1 s per TiB. Ten times that is a failure, not a stall. */
const RETURN_MS_MAX = 20_000;
const POLL_MS = 20;
const PROGRESS_MS = 250;

/**
 * Kills the engine of `node` `tour.killCount` times. Throws when `load` rejects, when the engine or the load does not come back, and when
 * the user has asked to stop.
 */
export async function killEngine(
  tour: Tour,
  { clock, load, node }: { clock: CommitClock; load: Promise<void>; node: string },
): Promise<void> {
  for (let kill = 1; kill <= tour.killCount; kill++) {
    await loadFor(tour, { clock, load, ms: uptimeMs() });
    await killOnce({ tour, clock, load, node, kill });
  }
  await loadFor(tour, { clock, load, ms: UPTIME_MS_MIN });
}

/** Lets the load run. Throws when it rejects, and when the user has asked to stop. */
export async function loadFor(
  { screen, signal }: Tour,
  { clock, load, ms }: { clock: CommitClock; load: Promise<void>; ms: number },
): Promise<void> {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs) {
    screen.progress(`${clock.count} commits, ${Math.round(clock.perSecond())} a second`);
    const pauseMs = Math.min(PROGRESS_MS, Math.max(0, untilMs - performance.now()));
    await Promise.race([sleep(pauseMs, undefined, { signal }), load]);
  }
}

/** How long the load runs between two kills: at random. */
function uptimeMs(): number {
  return UPTIME_MS_MIN + Math.random() * (UPTIME_MS_MAX - UPTIME_MS_MIN);
}

async function killOnce(options: {
  readonly tour: Tour;
  readonly clock: CommitClock;
  readonly load: Promise<void>;
  readonly node: string;
  readonly kill: number;
}): Promise<void> {
  const { clock, load, node, kill } = options;
  const { commandLine, screen, signal } = options.tour;
  const enginePid = (await commandLine.enginePid(node)) ?? 0;
  const countBefore = clock.count;
  clock.takeLongestGapMs();
  process.kill(enginePid, 'SIGKILL');
  const deadlineMs = performance.now() + RETURN_MS_MAX;
  let newPid = enginePid;
  while (newPid === enginePid || clock.count < countBefore + COMMITS_AFTER) {
    if (performance.now() > deadlineMs) {
      throw new Error(`${RETURN_MS_MAX / 1000} s after a kill of the engine nothing commits yet`);
    }
    await Promise.race([sleep(POLL_MS, undefined, { signal }), load]);
    // While the engine is away, status may not name one.
    if (newPid === enginePid) newPid = (await commandLine.enginePid(node)) ?? enginePid;
  }
  const stallMs = clock.takeLongestGapMs();
  screen.line(
    `  kill ${kill}: engine ${enginePid} after ${countBefore} commits; engine ${newPid} took over; no commit for ${Math.round(stallMs)} ms`,
  );
}
