/**
 * What the tour does with its guest: kills the engine under it, then the node that it is on, brings it up on another node, kills a node that
 * has a replica alone, and compares at the end what was promised with what is there.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommitClock } from './commit-clock.ts';
import type { Comparison } from './comparison.ts';
import { killEngine, loadFor } from './engine-kills.ts';
import { type Guest, type Load, type Tour, VOLUME_BYTES, VOLUME_NAME } from './guest.ts';
import { Journal, readJournal } from './journal.ts';

export const NODES: readonly [string, string, string] = ['a', 'b', 'c'];
/** The load runs so long before something dies, and after it. */
const LOAD_MS = 3000;
const REBUILT_MS_MAX = 60_000;
const LOOK_MS = 100;

/** Runs it all. Resolves with what became of the commits that returned. */
export async function runCourse(tour: Tour, guest: Guest): Promise<Comparison> {
  const { commandLine, screen } = tour;
  const [first, second, third] = NODES;
  await screen.step(`Volume "${VOLUME_NAME}" with three replicas`, async () => {
    await commandLine.freshVolume(VOLUME_NAME, VOLUME_BYTES, NODES.length);
    return `${VOLUME_BYTES / 2 ** 30} GiB, takes space only for what is written`;
  });
  await guest.begin(first);
  const journalPath = join(tour.keptFolder, 'journal');
  const journal = await Journal.create(journalPath);
  const clock = new CommitClock(() => performance.now());
  try {
    screen.line(`Writers run; what returned is kept in ${journalPath}`);
    await withLoad(guest.openLoad(journal, clock), async (load) => {
      await killEngine(tour, { clock, load, node: first });
      await dieTogether(tour, { guest, load, node: first });
    });
    const diedAtMs = performance.now();
    await guest.resume(second, { force: true });
    await withLoad(guest.openLoad(journal, clock), async (load) => {
      await firstCommit(clock, load);
      const tookMs = performance.now() - diedAtMs;
      screen.line(`  the first commit on node ${second} ${seconds(tookMs)} s after the kill`);
      await bringBack(tour, { load, node: first });
      await loadFor(tour, { clock, load, ms: LOAD_MS });
      clock.takeLongestGapMs();
      await killNode(tour, third);
      await loadFor(tour, { clock, load, ms: LOAD_MS });
      const stallMs = Math.round(clock.takeLongestGapMs());
      screen.line(`  the load goes on; no commit for ${stallMs} ms at most`);
      await bringBack(tour, { load, node: third });
      await loadFor(tour, { clock, load, ms: LOAD_MS });
    });
  } finally {
    await journal.close();
  }
  screen.line(`  ${clock.count} commits, ${Math.round(clock.perSecond())} a second`);
  await guest.end();
  screen.line(`Back to node ${first}, whose replica was rebuilt:`);
  await guest.resume(first, { force: false });
  return await guest.compare(await readJournal(journalPath));
}

/** Runs `work` beside a load, which ends with it. */
async function withLoad(
  load: Load,
  work: (running: Promise<void>) => Promise<void>,
): Promise<void> {
  const running = load.run();
  // Whoever waits for it is told; when nobody does yet, it is no crash.
  running.catch(() => undefined);
  try {
    await work(running);
  } finally {
    load.stop();
    await Promise.allSettled([running]);
  }
}

/** Ends a node and its guest as the death of the machine would, and waits until the writers have noticed. */
async function dieTogether(
  tour: Tour,
  {
    guest,
    load,
    node,
  }: { readonly guest: Guest; readonly load: Promise<void>; readonly node: string },
): Promise<void> {
  await killNode(tour, node);
  await guest.die();
  await load.catch(() => undefined);
}

async function killNode({ commandLine, screen }: Tour, node: string): Promise<void> {
  const pids = await commandLine.nodePids(node);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  screen.line(`Node ${node} dies: processes ${pids.join(', ')} are killed with SIGKILL`);
}

async function firstCommit(clock: CommitClock, load: Promise<void>): Promise<void> {
  const { count } = clock;
  while (clock.count === count) await Promise.race([sleep(LOOK_MS / 10), load]);
}

/** Starts a node again under the load, and waits until its replica has every acknowledged write. */
async function bringBack(
  { commandLine, screen, signal }: Tour,
  { load, node }: { readonly load: Promise<void>; readonly node: string },
): Promise<void> {
  await commandLine.showUp(screen, node);
  const fromMs = performance.now();
  const deadlineMs = fromMs + REBUILT_MS_MAX;
  while (!(await commandLine.isSynced(VOLUME_NAME, NODES.length))) {
    if (performance.now() > deadlineMs) {
      throw new Error(
        `The replica of node ${node} is not rebuilt after ${REBUILT_MS_MAX / 1000} s`,
      );
    }
    await Promise.race([sleep(LOOK_MS, undefined, { signal }), load]);
  }
  const tookMs = performance.now() - fromMs;
  screen.line(`  ${seconds(tookMs)} s later its replica has what it missed`);
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
