/** Checks of an installation: its directory, the file system below it, what dead runs left, and, where it runs, what it says of itself. */

import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { MadeLog } from '../../attacher/made-log.ts';
import { isAlive } from '../../attacher/process-identity.ts';
import { type Installation, isInstallation, refuseForeign } from '../../control/installation.ts';
import type { StatusView } from '../../control/schemas.ts';
import { servedInstallation } from '../../control/served-installation.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { livingRoles } from '../../control/own-processes.ts';
import { Refusal } from '../../model/errors.ts';
import { formatSize } from '../../model/sizes.ts';
import type { ApiClient } from '../api-client.ts';
import { type Check, ok, problem, warning } from './check.ts';

/** Of the file system that the installation is on: less, and the next log or record may find no room. */
const FREE_BYTES_BAD = 64 * 1024 * 1024;
const FREE_BYTES_LOW = 1024 ** 3;
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
/** What `adjustOomScore` asks for. */
const OOM_SCORE_ADJUST = -900;

/** All of them. */
export async function checkInstallation(
  installation: Installation,
  api: ApiClient,
): Promise<Check[]> {
  const directory = checkDirectory(installation.directory);
  if (directory.verdict === 'problem') return [directory];
  const place = nearest(installation.directory);
  return [
    directory,
    checkSpace(place),
    checkDirectIo(place),
    ...(await checkProcesses(installation, api)),
  ];
}

function checkDirectory(directory: string): Check {
  try {
    refuseForeign(directory);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return problem('data directory', error.message, 'Give another directory (--data DIR)');
  }
  const place = nearest(directory);
  try {
    fs.accessSync(place, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch {
    return problem(
      'data directory',
      `this user may not use "${place}"`,
      'Run as its owner, or give another directory (--data DIR)',
    );
  }
  if (!isInstallation(directory)) return ok('data directory', `"${directory}" can be made`);
  const { mode } = fs.statSync(directory);
  return (mode & 0o022) === 0
    ? ok('data directory', `"${directory}"`)
    : warning('data directory', `others may write in "${directory}"`, `chmod go-w "${directory}"`);
}

/** The directory itself, or the nearest one above it that is there. */
function nearest(directory: string): string {
  let at = path.resolve(directory);
  while (!fs.existsSync(at)) at = path.dirname(at);
  return at;
}

function checkSpace(place: string): Check {
  const { bavail, bsize, type } = fs.statfsSync(place);
  const free = bavail * bsize;
  const detail = `${formatSize(free)} free at "${place}"`;
  if (free < FREE_BYTES_BAD)
    return problem('space', detail, 'Free some: records and logs have to be written');
  if (IN_MEMORY.has(type)) {
    return warning(
      'space',
      `${detail}, in memory: it vanishes at a reboot`,
      'Use a directory on a disk',
    );
  }
  return free < FREE_BYTES_LOW
    ? warning('space', detail, 'Free some before drives that grow, and sparse ones, need it')
    : ok('space', detail);
}

/** Opens a file of its own with O_DIRECT, and removes it. */
function checkDirectIo(place: string): Check {
  const file = path.join(place, `.holdfast-doctor-${process.pid}`);
  if (fs.constants.O_DIRECT === undefined) return ok('direct I/O', 'by other means on this system');
  try {
    const flags =
      fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_DIRECT;
    fs.closeSync(fs.openSync(file, flags, 0o600));
    return ok('direct I/O', `the file system of "${place}" has it`);
  } catch (error) {
    return problem(
      'direct I/O',
      `the file system of "${place}" refuses it: ${error instanceof Error ? error.message : String(error)}`,
      'Put file drives on ext4, xfs or btrfs, or give whole block devices (drive add --path)',
    );
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** What a run that is dead left in the machine. */
function checkLeftovers(runDirectory: string): Check {
  const left = fs.existsSync(runDirectory)
    ? new MadeLog(runDirectory).entries().filter(({ kind }) => kind !== 'socket')
    : [];
  if (left.length === 0) return ok('leftovers', 'no dead run left anything');
  const names = left.map((made) => `${made.kind} ${'device' in made ? made.device : made.path}`);
  return warning(
    'leftovers',
    `a dead run left ${names.join(', ')}`,
    'holdfast up puts back what is wanted of it, holdfast down removes it',
  );
}

async function checkProcesses(installation: Installation, api: ApiClient): Promise<Check[]> {
  let status: StatusView;
  try {
    status = await api.get<StatusView>('/v1/status');
  } catch (error) {
    if (isDown(installation)) {
      return [
        ok('processes', 'Holdfast does not run here'),
        checkLeftovers(installation.runDirectory),
      ];
    }
    const detail = error instanceof Error ? error.message : String(error);
    return [
      problem('processes', detail, 'holdfast up starts what is dead; DIR/log tells why it died'),
    ];
  }
  const away = Object.entries(status.processes).filter(([, { state }]) => state !== 'running');
  const checks: Check[] = [
    away.length === 0
      ? ok('processes', Object.keys(status.processes).join(', '))
      : problem(
          'processes',
          away.map(([role, { state }]) => `${role} is ${state}`).join(', '),
          'holdfast up starts what is dead; DIR/log tells why it died',
        ),
  ];
  for (const { name, path: at, state, reason } of status.drives) {
    checks.push(
      state === 'open'
        ? ok(`drive "${name}"`, `"${at}" is open`)
        : problem(
            `drive "${name}"`,
            `"${at}" is ${state}: ${reason ?? 'no reason given'}`,
            `holdfast drive check "${at}" tells more, after holdfast down`,
          ),
    );
  }
  const known = status.warnings.filter((text) => !/^drive ".*" is (?!full)/.test(text));
  checks.push(
    ...known.map((text) => warning('status', text, 'holdfast status shows it until it is over')),
  );
  for (const role of ['engine', 'attacher'] as const) {
    const pid = status.processes[role]?.pid;
    if (pid !== null && pid !== undefined) checks.push(...checkOomScore(role, pid));
  }
  return checks;
}

/** Neither a supervisor nor one of its processes is there, and systemd starts none. */
function isDown(installation: Installation): boolean {
  const supervisor = readSupervisor(installation.runDirectory);
  const isSupervised = supervisor !== undefined && isAlive(supervisor);
  const isServed = servedInstallation() === installation.directory;
  return !isSupervised && !isServed && livingRoles(installation).length === 0;
}

function checkOomScore(role: string, pid: number): Check[] {
  let score: number;
  try {
    score = Number(fs.readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
  } catch {
    // It has ended, or this is no Linux.
    return [];
  }
  const detail = `${role} has ${score}`;
  return [
    score <= OOM_SCORE_ADJUST
      ? ok('oom_score_adj', detail)
      : warning(
          'oom_score_adj',
          `${detail}: it may be killed first when memory is short`,
          'Run as root with CAP_SYS_RESOURCE',
        ),
  ];
}
