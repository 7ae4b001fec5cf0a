/** DIR/lock: held by the supervisor, and by whoever cleans up after a dead one. */

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { identify, isAlive } from '../attacher/process-identity.ts';
import { type SweepReport, sweepLeftovers } from '../attacher/sweep.ts';
import { type FileLock, lockFile } from '../env/node/file-lock.ts';
import { Refusal } from '../model/errors.ts';
import { textWithoutSecrets } from '../model/secrets.ts';
import { type Installation, refuseFull } from './installation.ts';
import { readSupervisor } from './supervisor-state.ts';

export type HeldLock = Extract<FileLock, { kind: 'locked' }>;

/** Throws INSTALLATION_RUNNING, naming the holder, where another has the lock. `inherited`: whoever started this process has it. */
export function lockInstallation(installation: Installation, inherited?: number): HeldLock {
  const note = JSON.stringify({
    pid: process.pid,
    startedAt: new Date().toISOString(),
    command: textWithoutSecrets(process.argv.slice(1).join(' ')),
  });
  const lock = lockFile(path.join(installation.directory, 'lock'), note, inherited);
  if (lock.kind === 'held') throw running(installation, lock.note);
  return lock;
}

/** A holder that was killed has the lock until its last thread has ended, and shows as dead before. */
const DEAD_HOLDER_MS_MAX = 10_000;
const LOOK_MS = 5;

/** The same where DIR takes bytes (a start without room fails later, and has no words for it), once a holder that is dead has gone. */
export async function lockWritable(
  installation: Installation,
  inherited?: number,
): Promise<HeldLock> {
  for (const deadline = performance.now() + DEAD_HOLDER_MS_MAX; ; await sleep(LOOK_MS)) {
    let lock: HeldLock | undefined;
    try {
      lock = lockInstallation(installation, inherited);
      refuseSupervised(installation);
      refuseFull(installation);
      return lock;
    } catch (error) {
      lock?.release();
      if (!(error instanceof Refusal)) refuseFull(installation);
      if (!isOfDead(error) || performance.now() > deadline) throw error;
    }
  }
}

/** Whoever removed the lock has not ended what had it. */
function refuseSupervised(installation: Installation): void {
  const supervisor = readSupervisor(installation.runDirectory);
  if (supervisor === undefined || supervisor.pid === process.pid || !isAlive(supervisor)) return;
  throw running(installation, JSON.stringify(supervisor));
}

function isOfDead(error: unknown): boolean {
  if (!(error instanceof Refusal) || error.code !== 'INSTALLATION_RUNNING') return false;
  const pid = Number(error.details['pid']);
  return Number.isInteger(pid) && identify(pid) === undefined;
}

/** Undoes what an installation left in the machine none of whose processes runs. Throws INSTALLATION_RUNNING where one is starting. */
export async function sweepDead(installation: Installation): Promise<SweepReport> {
  const lock = lockInstallation(installation);
  try {
    return await sweepLeftovers(installation.runDirectory, { scope: 'run' });
  } finally {
    lock.release();
  }
}

function running(installation: Installation, note: string): Refusal {
  let holder: { pid?: unknown; startedAt?: unknown } = {};
  try {
    holder = JSON.parse(note) as typeof holder;
  } catch {
    // It has the lock and has not written yet.
  }
  return new Refusal('INSTALLATION_RUNNING', {
    dataDir: installation.directory,
    pid: String(holder.pid ?? 'unknown'),
    since: String(holder.startedAt ?? 'just now'),
  });
}
