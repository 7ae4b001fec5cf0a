/** An installation that runs as services of systemd: which one it is, and systemctl for it. */

import fs from 'node:fs';
import process from 'node:process';

import { Refusal } from '../model/errors.ts';
import { servedInstallation } from './served-installation.ts';
import { TARGET, serviceOf } from './units.ts';
import { isMemberPlace } from './own-etcd.ts';
import { KEPT, type Kept, ROLES } from './roles.ts';
import { runProgram } from './run-program.ts';

/** Whether this process is a service of systemd. */
export const isService = (): boolean => process.env['NOTIFY_SOCKET'] !== undefined;

/** Whether systemd runs on this machine, as sd_booted(3) asks. */
export const hasSystemd = (): boolean => fs.existsSync('/run/systemd/system');

/** The processes that systemd keeps on this machine. */
export function servedRoles(): readonly Kept[] {
  const directory = servedInstallation();
  return directory !== undefined && isMemberPlace(directory) ? KEPT : ROLES;
}

/** Whether it serves: the target, or one of the processes. */
export async function isServing(): Promise<boolean> {
  const units = [TARGET, ...servedRoles().map(serviceOf)];
  const states = await systemctl('show', '-pActiveState', ...units);
  return /^ActiveState=(active|activating|reloading|deactivating)$/m.test(states);
}

/** Runs systemctl, which waits for what it starts and stops. Resolves with its output. Throws SERVICE_FAILED with what it says. */
export async function systemctl(...words: readonly string[]): Promise<string> {
  const result = await runProgram('systemctl', ...words);
  if (result.kind === 'ended' && result.status === 0) return result.output;
  const problem = result.kind === 'missing' ? 'it is not installed' : result.output;
  throw new Refusal('SERVICE_FAILED', { call: `systemctl ${words.join(' ')}`, problem });
}

export type ServiceState = {
  readonly pid: number | null;
  readonly startedAt: string | null;
  readonly restarts: number;
};

/** What systemd says of the processes. */
export async function readServices(): Promise<Readonly<Partial<Record<Kept, ServiceState>>>> {
  const properties = ['MainPID', 'NRestarts', 'ExecMainStartTimestamp'].map((name) => `-p${name}`);
  const roles = servedRoles();
  const output = await systemctl(
    'show',
    '--timestamp=unix',
    ...properties,
    ...roles.map(serviceOf),
  );
  const blocks = output.split('\n\n').map(parseService);
  const none: ServiceState = { pid: null, startedAt: null, restarts: 0 };
  return Object.fromEntries(roles.map((role, index) => [role, blocks[index] ?? none]));
}

function parseService(block: string): ServiceState {
  const value = (name: string): number =>
    Number(new RegExp(`^${name}=@?(\\d+)$`, 'm').exec(block)?.[1] ?? 0);
  const startedAt = value('ExecMainStartTimestamp');
  return {
    pid: value('MainPID') || null,
    startedAt: startedAt === 0 ? null : new Date(startedAt * 1000).toISOString(),
    restarts: value('NRestarts'),
  };
}
