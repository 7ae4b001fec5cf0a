/** The middle of both tours: writers that keep a journal, and the engine killed under them. */

import { CommitClock } from './commit-clock.ts';
import { killEngine } from './engine-kills.ts';
import { Journal } from './journal.ts';
import type { Tour } from './tour.ts';

export type Load = {
  /** Runs until {@link stop}. Rejects when a write fails: none may. */
  run(): Promise<void>;
  stop(): void;
};

/** Kills the engine `tour.killCount` times under a load, and prints figures. The journal at `journalPath` then has what was promised. */
export async function killUnderLoad(
  tour: Tour,
  journalPath: string,
  openLoad: (journal: Journal, clock: CommitClock) => Load,
): Promise<void> {
  const { screen, killCount } = tour;
  screen.line(
    `Writers run; the engine is killed with SIGKILL ${killCount} times; what returned is kept in ${journalPath}`,
  );
  const journal = await Journal.create(journalPath);
  const clock = new CommitClock(() => performance.now());
  const load = openLoad(journal, clock);
  const running = load.run();
  let longestMs: number;
  try {
    longestMs = await killEngine(tour, clock, running);
  } finally {
    load.stop();
    // If it failed, that has ended the kills, which tell of it.
    await Promise.allSettled([running]);
    await journal.close();
  }
  screen.line(
    `  ${clock.count} commits, ${Math.round(clock.perSecond())} a second; longest stall at a kill: ${Math.round(longestMs)} ms`,
  );
}
