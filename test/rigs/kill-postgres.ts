/**
 * The kill rig's PostgreSQL path: writers whose every COMMIT that returned is in a journal outside of the volume, kills at
 * random moments, then unmount, fsck, mount, second start, and the comparison. The parts are the tour's.
 */

import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Installation } from '../../bench/lib/installation.ts';
import { isEnding } from '../../bench/lib/processes.ts';
import { CommitClock } from '../../src/tour/commit-clock.ts';
import { compareDatabase, createTables, DatabaseLoad } from '../../src/tour/database-load.ts';
import { Journal, readJournal } from '../../src/tour/journal.ts';
import { findPostgres, Postgres, postgresUser } from '../../src/tour/postgres.ts';
import { EngineKiller } from './engine-killer.ts';
import type { KillOutcome, KillPlan } from './kill-plan.ts';
import { killUnderLoad } from './kill-stalls.ts';

const VOLUME = 'kill-postgres';
const VOLUME_BYTES = 2 * 2 ** 30;

export async function killUnderPostgres(
  installation: Installation,
  plan: KillPlan,
): Promise<KillOutcome> {
  const programs = findPostgres();
  if (programs === undefined) throw new Error('PostgreSQL is not installed here');
  // PostgreSQL's user must get there: not below the data folder, which is root's alone.
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-postgres-'));
  chmodSync(folder, 0o755);
  const paths = {
    mount: join(folder, 'volume'),
    socket: join(folder, 'socket'),
    journal: join(folder, 'journal'),
  };
  for (const made of [paths.mount, paths.socket]) mkdirSync(made);
  const postgres = new Postgres(programs, postgresUser(), {
    data: join(paths.mount, 'database'),
    socket: paths.socket,
    log: join(folder, 'postgres.log'),
  });
  const mount = async (): Promise<void> => {
    await installation.command(['volume', 'mount', VOLUME, '--fs', 'ext4', '--at', paths.mount]);
  };
  await installation.createVolume(VOLUME, VOLUME_BYTES);
  await mount();
  mkdirSync(join(paths.mount, 'database'));
  plan.onStarted?.(async () => {
    // A path that failed leaves its journal for inspection.
    if (!isEnding() || !existsSync(folder)) return;
    await postgres.stop();
    await installation.unmount(VOLUME);
    rmSync(folder, { recursive: true, force: true });
  });
  try {
    await postgres.initialize();
    await postgres.start();
    await createTables(postgres);
    const stallsMs = await killWhileCommitting(installation, {
      postgres,
      journalPath: paths.journal,
      plan,
    });
    await postgres.stop();
    await installation.unmount(VOLUME);
    await mount();
    await postgres.start();
    const comparison = await compareDatabase(postgres, await readJournal(paths.journal));
    await postgres.stop();
    await installation.unmount(VOLUME);
    rmSync(folder, { recursive: true, force: true });
    return {
      lost: comparison.lost.map(
        (each) => `commit ${each.sequence} of writer ${each.writer} is not there`,
      ),
      recoveryMs: stallsMs,
      facts: [
        `committed ${comparison.committed}, found ${comparison.found}, lost ${comparison.lost.length}`,
        `longest time without a commit around a kill: ${Math.round(Math.max(...stallsMs))} ms`,
      ],
    };
  } finally {
    // After a failure the server must not hold the mount that `down` is to end. Harmless when it has ended.
    await postgres.stop();
  }
}

/** Kills the engine under the writers; returns for each kill the longest time in which nothing committed. */
async function killWhileCommitting(
  installation: Installation,
  under: { readonly postgres: Postgres; readonly journalPath: string; readonly plan: KillPlan },
): Promise<number[]> {
  const { plan } = under;
  const killer = await EngineKiller.of(installation);
  const journal = await Journal.create(under.journalPath);
  const clock = new CommitClock(() => performance.now());
  const load = new DatabaseLoad(under.postgres, journal, clock);
  const running = load.run();
  let stallsMs: number[];
  try {
    stallsMs = await killUnderLoad({ killer, clock, running, unit: 'commits' }, plan);
  } finally {
    load.stop();
    await Promise.allSettled([running]);
    await journal.close();
  }
  await running;
  return stallsMs;
}
