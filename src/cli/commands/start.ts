/** Starts an installation in the background, and waits until it is ready. */

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { isInstalled } from '../../../bootstrap/npm-packages.mjs';
import { type Installation, makeDirectories, refuseFull } from '../../control/installation.ts';
import { type HeldLock, lockWritable } from '../../control/installation-lock.ts';
import type { StatusView } from '../../control/schemas.ts';
import { isMemberPlace } from '../../control/own-etcd.ts';
import { PROGRAM_ROOT, mainPath } from '../../control/roles.ts';
import { readStartWait } from '../../control/start-wait.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { Refusal } from '../../model/errors.ts';
import type { Context } from '../context.ts';

const READY_MS_MAX = 60_000;
/** The descriptor with which a supervisor is started that has the lock of its installation. */
export const LOCK_FD = 3;

/**
 * Starts a supervisor of its own session, which takes over what a dead one left, and waits until all is ready. The lock is its own from
 * here on: whoever looks meanwhile finds that Holdfast runs. Throws INSTALLATION_RUNNING where another has it.
 */
export async function startDetached(context: Context): Promise<void> {
  const { installation } = context;
  makeDirectories(installation);
  const lock = await lockWritable(installation);
  let started: ReturnType<typeof spawnSupervisor>;
  try {
    started = spawnSupervisor(installation, lock);
  } finally {
    lock.release();
  }
  const { child, fromBytes } = started;
  let failure: Error | undefined;
  child.once('exit', (code) => (failure = startFailure(installation, { code, fromBytes })));
  await ready(context, () => failure, child.pid);
}

/**
 * Throws PACKAGES_MISSING in a clone whose `npm ci` came not to its end: the command line may need none of what is missing, and control
 * would end as often as it is started.
 */
export function refuseIncomplete(): void {
  // What is installed from npm has no lock file.
  if (!fs.existsSync(path.join(PROGRAM_ROOT, 'package-lock.json')) || isInstalled()) return;
  throw new Refusal('PACKAGES_MISSING', { home: PROGRAM_ROOT });
}

function spawnSupervisor(
  installation: Installation,
  lock: HeldLock,
): { readonly child: ChildProcess; readonly fromBytes: number } {
  const log = openSupervisorLog(installation);
  const fromBytes = fs.fstatSync(log).size;
  const words = [
    mainPath(PROGRAM_ROOT),
    'up',
    '--data',
    installation.directory,
    '--output',
    'json',
    '--supervise',
  ];
  const child = spawn(process.execPath, words, {
    detached: true,
    stdio: ['ignore', log, log, lock.fd],
  });
  fs.closeSync(log);
  child.unref();
  return { child, fromBytes };
}

/**
 * Waits until control answers, the engine is connected, and what was wanted before is settled: as long as that makes progress, and where
 * nothing is gained by giving up (`isPatient`) as long as control answers at all: some checks of file systems say nothing for minutes.
 */
export async function ready(
  context: Context,
  failure: () => Error | undefined,
  pid: number | undefined,
  isPatient = false,
): Promise<void> {
  const { installation, api, output } = context;
  let deadline = performance.now() + READY_MS_MAX;
  let last = '';
  for (;;) {
    const failed = failure();
    if (failed !== undefined) throw failed;
    const holder = readSupervisor(installation.runDirectory)?.pid;
    const status =
      holder === pid ? await api.get<StatusView>('/v1/status').catch(() => undefined) : undefined;
    const running = Object.values(status?.processes ?? {}).every(
      ({ state }) => state === 'running',
    );
    if (status !== undefined && running) break;
    const now = status?.underWay ?? '';
    if (now !== last) {
      deadline = performance.now() + READY_MS_MAX;
      last = now;
      output.progress(now);
    }
    if (performance.now() > deadline) {
      const late = `not ready after ${READY_MS_MAX / 1000} s; see ${installation.logDirectory}`;
      const problem = late + waitInWords(installation, now);
      if (!isPatient || status === undefined) throw new Refusal('INSTALLATION_START', { problem });
      output.note(`Still starting: ${problem}`);
      deadline = performance.now() + READY_MS_MAX;
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  output.progress('');
}

/** What a start that goes on waits for. */
function waitInWords({ directory, runDirectory }: Installation, underWay: string): string {
  if (underWay !== '') return `. It goes on: ${underWay}`;
  const wait = isMemberPlace(directory)
    ? 'its etcd waits until most of its members run, on the other nodes'
    : readStartWait(runDirectory)?.message;
  return wait === undefined ? '' : `. It goes on: ${wait}`;
}

function openSupervisorLog(installation: Installation): number {
  try {
    return fs.openSync(path.join(installation.logDirectory, 'supervisor.log'), 'a', 0o600);
  } catch (error) {
    refuseFull(installation);
    throw error;
  }
}

/** What the supervisor said before it ended: the log has it from `fromBytes` on. */
function startFailure(
  installation: Installation,
  { code, fromBytes }: { readonly code: number | null; readonly fromBytes: number },
): Error {
  try {
    // On a full disk the log has no word of it.
    refuseFull(installation);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  const log = fs.readFileSync(path.join(installation.logDirectory, 'supervisor.log'));
  const lines = log.subarray(fromBytes).toString().trimEnd().split('\n');
  const problem = lines.map(problemIn).findLast((found) => found !== undefined);
  const said =
    code === 0
      ? 'it was ended (holdfast down) before it was ready'
      : lines.findLast((line) => !line.startsWith('{')) ||
        `the supervisor ended with ${code ?? 'a signal'} and said nothing`;
  return new Refusal('INSTALLATION_START', { problem: problem ?? said });
}

/** The problem that the command reported; undefined where the line is something else, such as one of the log. */
function problemIn(line: string): string | undefined {
  try {
    const { code, detail }: { code?: string; detail?: string } = JSON.parse(line);
    return code === undefined ? undefined : detail;
  } catch {
    return undefined;
  }
}
