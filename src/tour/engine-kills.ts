/** Kills the engine with SIGKILL at random moments under a load, and measures how long the load stands still. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandLine } from './command-line.ts';
import type { CommitClock } from './commit-clock.ts';
import type { Tour } from './tour.ts';

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
 * Kills the engine `tour.killCount` times. Resolves with the longest stall, in milliseconds. Throws when `load` rejects, when
 * the engine or the load does not come back, and when the user has asked to stop.
 */
export async function killEngine(
  tour: Tour,
  clock: CommitClock,
  load: Promise<void>,
): Promise<number> {
  const { screen, signal, killCount } = tour;
  /** Lets the load run. */
  const during = async (ms: number): Promise<void> => {
    await Promise.race([sleep(ms, undefined, { signal }), load]);
  };
  let longestMs = 0;
  for (let kill = 1; kill <= killCount; kill++) {
    const untilMs = performance.now() + uptimeMs();
    while (performance.now() < untilMs) {
      screen.progress(`${clock.count} commits, ${Math.round(clock.perSecond())} a second`);
      await during(Math.min(PROGRESS_MS, Math.max(0, untilMs - performance.now())));
    }
    const stallMs = await killOnce({ tour, clock, during, kill });
    longestMs = Math.max(longestMs, stallMs);
  }
  await during(UPTIME_MS_MIN);
  return longestMs;
}

/** How long the load runs between two kills: at random. */
function uptimeMs(): number {
  return UPTIME_MS_MIN + Math.random() * (UPTIME_MS_MAX - UPTIME_MS_MIN);
}

async function killOnce(options: {
  readonly tour: Tour;
  readonly clock: CommitClock;
  readonly during: (ms: number) => Promise<void>;
  readonly kill: number;
}): Promise<number> {
  const { clock, during, kill } = options;
  const { commandLine, screen } = options.tour;
  const { enginePid } = await commandLine.status();
  const countBefore = clock.count;
  clock.takeLongestGapMs();
  process.kill(enginePid, 'SIGKILL');
  const deadlineMs = performance.now() + RETURN_MS_MAX;
  let newPid = enginePid;
  while (newPid === enginePid || clock.count < countBefore + COMMITS_AFTER) {
    if (performance.now() > deadlineMs) {
      throw new Error(`${RETURN_MS_MAX / 1000} s after a kill of the engine nothing commits yet`);
    }
    await during(POLL_MS);
    if (newPid === enginePid) newPid = await enginePidNow(commandLine, enginePid);
  }
  const stallMs = clock.takeLongestGapMs();
  screen.line(
    `  kill ${kill}: engine ${enginePid} after ${countBefore} commits; engine ${newPid} took over; no commit for ${Math.round(stallMs)} ms`,
  );
  return stallMs;
}

/** While the engine is away, status may not name one. */
async function enginePidNow(commandLine: CommandLine, otherwise: number): Promise<number> {
  try {
    return (await commandLine.status()).enginePid;
  } catch {
    return otherwise;
  }
}
