/** Starts an installation in the background, and waits until it is ready. */

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { type Installation, makeDirectories, refuseFull } from '../../control/installation.ts';
import type { DriveView, StatusView } from '../../control/schemas.ts';
import { PROGRAM_ROOT, mainPath } from '../../control/roles.ts';
import { readSupervisor } from '../../control/status.ts';
import { Refusal } from '../../model/errors.ts';
import { formatSize } from '../../model/sizes.ts';
import type { Context } from '../context.ts';

const READY_MS_MAX = 60_000;

/** Starts a supervisor of its own session, which takes over what a dead one left, and waits until all is ready. */
export async function startDetached(context: Context): Promise<void> {
  const { installation } = context;
  makeDirectories(installation);
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
    stdio: ['ignore', log, log],
  });
  fs.closeSync(log);
  child.unref();
  let failure: Error | undefined;
  child.once('exit', (code) => (failure = startFailure(installation, { code, fromBytes })));
  await ready(context, () => failure, child.pid);
}

/** Waits until control answers, the engine is connected, and what was wanted before is settled: as long as that makes progress. */
export async function ready(
  context: Context,
  failure: () => Error | undefined,
  pid: number | undefined,
): Promise<void> {
  const { installation, api, output } = context;
  let deadline = Date.now() + READY_MS_MAX;
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
    const now = status === undefined ? '' : await underWay(context);
    if (now !== last) {
      deadline = Date.now() + READY_MS_MAX;
      last = now;
      output.progress(now);
    }
    if (Date.now() > deadline) {
      throw new Refusal('INSTALLATION_START', {
        problem: `not ready after ${READY_MS_MAX / 1000} s; see ${installation.logDirectory}`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  output.progress('');
}

/** What an earlier run had left half done and this one brings to its end, such as a format. */
async function underWay({ api }: Context): Promise<string> {
  const drives = await api.get<DriveView[]>('/v1/drives').catch(() => []);
  const [busy] = drives.filter(({ progress }) => progress !== null);
  if (busy?.progress == null) return '';
  const { doneBytes, totalBytes } = busy.progress;
  const percent = Math.floor((100 * doneBytes) / totalBytes);
  return `Drive "${busy.name}": ${percent} % of ${formatSize(totalBytes)}`;
}

function openSupervisorLog(installation: Installation): number {
  try {
    return fs.openSync(path.join(installation.logDirectory, 'supervisor.log'), 'a', 0o600);
  } catch (error) {
    refuseFull(installation);
    throw error;
  }
}

/** What the supervisor said before it ended: the log has it from `fromBytes` on, between lines of another that starts just then. */
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
  if (problem?.code === 'INSTALLATION_RUNNING') {
    return new Refusal('INSTALLATION_RUNNING', problem.details ?? {});
  }
  const said = lines.at(-1) || `the supervisor ended with ${code ?? 'a signal'} and said nothing`;
  return new Refusal('INSTALLATION_START', { problem: problem?.detail ?? said });
}

type Problem = {
  readonly code?: string;
  readonly detail?: string;
  readonly details?: Readonly<Record<string, string | number>>;
};

/** The problem that a command reported for programs; undefined where the line is something else. */
function problemIn(line: string): Problem | undefined {
  try {
    const problem: Problem = JSON.parse(line);
    return typeof problem.code === 'string' ? problem : undefined;
  } catch {
    return undefined;
  }
}
