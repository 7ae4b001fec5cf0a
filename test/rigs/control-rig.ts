/**
 * An installation whose engine, attacher and control the test starts and kills one by one, without a supervisor. Everything dies
 * with the test's process, even if that is killed; what the kernel keeps then is swept by the next run.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { identify } from '../../src/attacher/process-identity.ts';
import { readMounts } from '../../src/attacher/mount-table.ts';
import { abortDying, sweepLeftovers } from '../../src/attacher/sweep.ts';
import { ApiClient } from '../../src/cli/api-client.ts';
import {
  type Installation,
  installationAt,
  makeDirectories,
} from '../../src/control/installation.ts';
import { LineClient } from '../../src/control/line-client.ts';
import type { StatusView } from '../../src/control/schemas.ts';
import { until } from './attach-rig.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
/** As bin/holdfast has it: a start takes a third of the time. */
const COMPILE_CACHE = new URL('../../node_modules/.cache/holdfast', import.meta.url).pathname;

/** A start on a machine whose cores many others want. */
export const START_MS_MAX = 180_000;

export type Role = 'engine' | 'attacher' | 'control';

/** The source of the file systems in memory that tests mount in their directories. */
export const TEST_MOUNT = 'holdfast-test';

/** A directory for one installation; its name has the process, so that a later run can sweep what a killed one left. */
export function makeTestDirectory(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), `hf-control-${process.pid}-`));
}

/** Sweeps the directories of test runs that were killed. Their processes died with them or are supervised ones, ended by `down`. */
export async function sweepEarlierTests(): Promise<void> {
  for (const name of fs.readdirSync(os.tmpdir())) {
    const pid = /^hf-control-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || identify(Number(pid)) !== undefined) continue;
    await removeTestDirectory(path.join(os.tmpdir(), name));
  }
}

/** Ends what still runs of the installations below `directory`, undoes what they made in the machine, and removes it. */
export async function removeTestDirectory(directory: string): Promise<void> {
  await endProcessesOf(directory);
  for (const { source, path: at } of readMounts())
    if (source === TEST_MOUNT && at.startsWith(`${directory}/`)) execFileSync('umount', ['-l', at]);
  const left: unknown[] = [];
  for (const run of fs.globSync(['*/run', '*/nodes/*/run'], { cwd: directory })) {
    if (!fs.existsSync(path.join(directory, run))) continue;
    const runDirectory = fs.realpathSync(path.join(directory, run));
    left.push(...(await sweepLeftovers(runDirectory, { scope: 'run' })).left);
    if (left.length === 0) fs.rmSync(runDirectory, { recursive: true, force: true });
  }
  if (left.length > 0) throw new Error(`left behind: ${JSON.stringify(left)}`);
  fs.rmSync(directory, { recursive: true, force: true });
}

/** Kills the processes whose `--data` lies below `directory`, the supervisors first. */
async function endProcessesOf(directory: string): Promise<void> {
  const found = processesOf(directory);
  const order = [...found.filter(({ words }) => words.includes('up')), ...found];
  for (const { pid } of order) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  await until(() => processesOf(directory).length === 0);
}

/** Processes, members of etcd too, with an installation below `directory` on their command line. */
export function processesOf(directory: string): { pid: number; words: string[] }[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), words: wordsOf(name) }))
    .filter(
      ({ words }) =>
        words.some((word) => /\/(src\/main\.ts|etcd\.json)$/.test(word)) &&
        words.some((word) => word === directory || word.startsWith(`${directory}/`)),
    );
}

function wordsOf(pid: string): string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** What its processes start in. */
export type Surroundings = {
  /** Words before theirs, which become them. */
  readonly enter?: readonly string[];
  /** Variables beside those of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Told of a process that ended by itself; it is started again, as the supervisor would. None: it stays away. */
  readonly onEnd?: (role: Role, how: string) => void;
};

/** The supervisor's first pause before it starts a process again that died as it started. */
export const RESTART_PAUSE_MS = 50;

export class ControlRig {
  readonly directory: string = makeTestDirectory();
  readonly installation: Installation;
  readonly api: ApiClient;
  readonly engine: LineClient;
  readonly attacher: LineClient;
  readonly #children = new Map<Role, ChildProcess>();
  readonly #surroundings: Surroundings;
  #closed: Promise<void> | undefined;

  constructor(surroundings: Surroundings = {}) {
    this.#surroundings = surroundings;
    this.installation = installationAt(path.join(this.directory, 'data'));
    makeDirectories(this.installation);
    this.api = new ApiClient([this.installation]);
    this.engine = new LineClient(this.installation.engineSocket, 'ENGINE_UNREACHABLE');
    this.attacher = new LineClient(this.installation.attacherSocket, 'ATTACHER_UNREACHABLE');
  }

  /** Control ends itself by SIGKILL at its `step`th step from now; never with 0. */
  killAt(step: number): void {
    fs.writeFileSync(this.#killFile, String(step));
  }

  /** In place of Docker's own folder for the sockets of plugins. */
  get pluginDirectory(): string {
    return path.join(this.directory, 'plugins');
  }

  get #killFile(): string {
    return path.join(this.directory, 'kill-at');
  }

  start(role: Role): void {
    const log = fs.openSync(path.join(this.installation.logDirectory, `${role}.log`), 'a');
    const words = [process.execPath, MAIN, role, '--data', this.installation.directory];
    const { enter = [], env = {} } = this.#surroundings;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...enter, ...words], {
      stdio: ['ignore', log, log],
      // As the supervisor starts them: each has its own share of a machine that is busy (sched_autogroup).
      detached: true,
      env: {
        NODE_COMPILE_CACHE: COMPILE_CACHE,
        ...process.env,
        ...env,
        HOLDFAST_PLUGIN_DIR: this.pluginDirectory,
        HOLDFAST_TEST_KILL: this.#killFile,
      },
    });
    fs.closeSync(log);
    this.#children.set(role, child);
    child.once('exit', (code, signal) => void this.#onExit(role, { child, how: code ?? signal }));
  }

  async #onExit(
    role: Role,
    { child, how }: { child: ChildProcess; how: string | number | null },
  ): Promise<void> {
    const isOurs = (): boolean => this.#children.get(role) === child;
    const { onEnd } = this.#surroundings;
    if (!isOurs() || onEnd === undefined) return;
    onEnd(role, `ended with ${how}`);
    await sleep(RESTART_PAUSE_MS, undefined, { ref: false });
    if (isOurs()) this.start(role);
  }

  /** Starts control and waits until what it found half done is settled. */
  async startControl(): Promise<void> {
    this.killAt(0);
    this.start('control');
    await until(async () => {
      const status = await this.api.get<StatusView>('/v1/status').catch(() => undefined);
      return status?.processes['control']?.state === 'running';
    }, START_MS_MAX);
  }

  isRunning(role: Role): boolean {
    const child = this.#children.get(role);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** One that does not run hears nothing. */
  signal(role: Role, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#children.get(role)?.kill(signal);
  }

  async kill(role: Role): Promise<void> {
    const child = this.#children.get(role);
    if (child === undefined) return;
    this.#children.delete(role);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    // What the supervisor does.
    const dying = setInterval(() => void abortDying(this.installation.runDirectory), 1000);
    await ended;
    clearInterval(dying);
  }

  /** What a process logged. */
  log(role: Role): string {
    return fs.readFileSync(path.join(this.installation.logDirectory, `${role}.log`), 'utf8');
  }

  /** Once, whoever asks: Ctrl-C does, and so does the run that it breaks off. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.engine.close();
    this.attacher.close();
    for (const role of ['control', 'attacher', 'engine'] as const) await this.kill(role);
    await removeTestDirectory(this.directory);
  }
}
