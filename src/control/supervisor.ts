/**
 * The supervisor: one per installation. Holds DIR/lock, sweeps what a dead run left, starts engine, attacher and control, and starts
 * again what dies: at once, or with pauses of up to 5 s where it dies before it has started.
 */

import { type SpawnOptions, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { type ProcessIdentity, identify } from '../attacher/process-identity.ts';
import { isServed } from '../attacher/line-server.ts';
import { abortDying, sweepLeftovers } from '../attacher/sweep.ts';
import { runMarkOf } from '../env/node/run-directory.ts';
import { assert } from '../lib/assert.ts';
import type { Log } from '../model/log.ts';
import { AdoptedProcess, type SupervisedProcess } from './adopted-process.ts';
import type { HeldLock } from './installation-lock.ts';
import { type Installation, replaceFile } from './installation.ts';
import { LineClient } from './line-client.ts';
import { ETCD, hasMember, memberWords } from './own-etcd.ts';
import {
  KEPT,
  type Kept,
  PROGRAM_ROOT,
  ROLES,
  type Role,
  compileCache,
  roleWords,
} from './roles.ts';
import { isOurs } from './own-processes.ts';
import { readSupervisor, type SupervisorState } from './supervisor-state.ts';
import { syncMounts } from './sync-mounts.ts';

/**
 * A process that lived this long had started: it is started again at once, since I/O waits for it. One that dies earlier is tried
 * with pauses, or a broken installation would keep a core busy.
 */
const STARTED_MS = 500;
const RESTART_PAUSE_MS_MIN = 50;
const RESTART_PAUSE_MS_MAX = 5000;
/** Idle processes of Holdfast wake once a second at most. */
const LOOK_MS = 1000;
/** An orderly end of one process: flushing and a last checkpoint. Then it is killed, which loses nothing acknowledged. */
const STOP_MS_MAX = 20_000;
/** I/O waits for the end of an engine that is to be replaced. */
const ENDING_LOOK_MS = 5;
/** An attacher that does not answer for so long serves nobody: it is ended, and what it made is swept. */
const ADOPT_MS_MAX = 3000;
/** Of file systems that are mounted still at the end. */
const SYNC_MS_MAX = 10_000;
/** While the disk takes no note of the processes. */
const NOTE_PAUSE_MS = 1000;

type Child = {
  process: SupervisedProcess | undefined;
  startedAt: string | null;
  /** On performance.now(): the wall clock jumps. */
  bornMs: number;
  restarts: number;
  lastExit: string | null;
  pauseMs: number;
  timer: NodeJS.Timeout | undefined;
};

/** A process that another started and that is kept. */
type Orphan = {
  readonly process: AdoptedProcess;
  readonly startedAt: string | null;
};

type Exit = {
  readonly code?: number | null;
  readonly signal?: string | null;
  readonly error?: string;
};

export class Supervisor {
  readonly #installation: Installation;
  readonly #lock: HeldLock;
  readonly #children = new Map<Kept, Child>();
  readonly #identity = identifySelf();
  readonly #startedAt = new Date().toISOString();
  readonly #log: Log;
  #notes: string[] = [];
  #stopping = false;
  /** The last end of a process, dealt with. */
  #exits: Promise<void> = Promise.resolve();
  #watchTimer: NodeJS.Timeout | undefined;
  #noteTimer: NodeJS.Timeout | undefined;
  readonly #noteFile: string;

  /** `lock`: DIR/lock, which the supervisor keeps to its end. */
  constructor(installation: Installation, lock: HeldLock, log: Log) {
    this.#installation = installation;
    this.#noteFile = path.join(installation.runDirectory, 'supervisor.json');
    this.#lock = lock;
    this.#log = log;
  }

  /** Sweeps, and starts the processes. */
  async start(): Promise<void> {
    // What an earlier one noted, before this one notes anything.
    const before = readSupervisor(this.#installation.runDirectory)?.processes ?? {};
    const attacher = await this.#endOrphans(before);
    this.#keepMember(before['etcd']);
    // I/O on what that one has waits for an engine.
    if (attacher !== undefined) this.#startChild('engine');
    await this.#sweep(attacher === undefined ? 'run' : 'attacher');
    if (attacher !== undefined) this.#adopt('attacher', attacher);
    for (const role of ROLES) if (!this.#children.has(role)) this.#startChild(role);
    this.#watch();
  }

  /**
   * Processes of a supervisor that was killed. Engine and control are replaced: I/O stalls until the engine is back. An attacher
   * holds block devices, and its end would fail the file systems on them; one that answers is kept, and returned.
   */
  async #endOrphans(before: SupervisorState['processes']): Promise<Orphan | undefined> {
    const kept = await this.#servingAttacher();
    for (const role of ['control', 'engine', 'attacher'] as const) {
      const pid = before[role]?.pid ?? null;
      if (pid === null || !isOurs(pid, role, this.#installation.directory)) continue;
      if (pid === kept?.process.pid) continue;
      if (role === 'attacher')
        this.#notes.push(`The attacher of the run before (process ${pid}) did not answer: ended`);
      await this.#endOrphan(pid, role);
    }
    return kept;
  }

  /** Where the node has a member of etcd, starts it, or goes on with the one `before` that still runs. */
  #keepMember(before?: SupervisorState['processes'][string]): void {
    const { directory } = this.#installation;
    if (this.#children.has('etcd') || this.#stopping || !hasMember(directory)) return;
    const { pid = null, startedAt = null } = before ?? {};
    const runs = pid !== null && isOurs(pid, 'etcd', directory);
    const process = runs ? AdoptedProcess.of(pid) : undefined;
    if (process === undefined) this.#startChild('etcd');
    else this.#adopt('etcd', { process, startedAt });
  }

  async #endOrphan(pid: number, role: Role): Promise<void> {
    const { directory } = this.#installation;
    process.kill(pid, role === 'engine' ? 'SIGTERM' : 'SIGKILL');
    const deadline = performance.now() + STOP_MS_MAX;
    while (isOurs(pid, role, directory) && performance.now() < deadline)
      await sleep(ENDING_LOOK_MS);
    if (isOurs(pid, role, directory)) process.kill(pid, 'SIGKILL');
  }

  /**
   * Looks once a second whether the attacher is dying and cannot: seen so twice, what holds it is ended; and whether control has made the
   * node's member of etcd.
   */
  #watch(): void {
    let seen: number | undefined;
    this.#watchTimer = setInterval(() => {
      this.#keepMember();
      const pid = this.#children.get('attacher')?.process?.pid;
      const isDying = pid !== undefined && identify(pid) === undefined;
      if (isDying && pid === seen) {
        abortDying(this.#installation.runDirectory).catch((error: unknown) => {
          this.#notes.push(`The attacher hangs in its end: ${String(error)}`);
        });
      }
      seen = isDying ? pid : undefined;
    }, LOOK_MS);
  }

  /** The attacher that listens and speaks our protocol: an earlier supervisor's, or one that has taken over from ours. */
  async #servingAttacher(): Promise<Orphan | undefined> {
    const { attacherSocket, directory, runDirectory } = this.#installation;
    if (!(await isServed(attacherSocket))) return undefined;
    const client = new LineClient(attacherSocket, 'ATTACHER_UNREACHABLE');
    try {
      await client.call('list', {}, { waitMs: ADOPT_MS_MAX, silenceMs: ADOPT_MS_MAX });
      const pid = Number(client.hello?.['pid']);
      const process = isOurs(pid, 'attacher', directory) ? AdoptedProcess.of(pid) : undefined;
      const known = readSupervisor(runDirectory)?.processes['attacher'];
      const startedAt = known?.pid === pid ? known.startedAt : null;
      return process === undefined ? undefined : { process, startedAt };
    } catch {
      return undefined;
    } finally {
      client.close();
    }
  }

  #adopt(role: Kept, orphan: Orphan): void {
    const startedAt = orphan.startedAt ?? new Date().toISOString();
    const { process } = orphan;
    const restarts = this.#children.get(role)?.restarts ?? 0;
    const child = {
      process,
      startedAt,
      bornMs: performance.now(),
      restarts,
      lastExit: null,
      pauseMs: 0,
      timer: undefined,
    };
    this.#children.set(role, child);
    process.once('exit', () => (this.#exits = this.#onExit(role)));
    this.#write();
  }

  /** `attacher`: only what dead attachers left, since one that lives was kept, with devices that name no maker. */
  async #sweep(scope: 'run' | 'attacher'): Promise<void> {
    const { runDirectory } = this.#installation;
    const report = await sweepLeftovers(runDirectory, { scope });
    if (report.undone.length > 0) {
      const kinds = report.undone.map((made) => made.kind).filter((kind) => kind !== 'socket');
      if (kinds.length > 0) this.#notes.push(`Swept what the run before left: ${kinds.join(', ')}`);
    }
    for (const { made, reason } of report.left) {
      this.#notes.push(`Left of the run before: ${JSON.stringify(made)}: ${reason}`);
    }
  }

  #startChild(role: Kept): void {
    const known = this.#children.get(role);
    const child: Child = known ?? {
      process: undefined,
      startedAt: null,
      bornMs: 0,
      restarts: 0,
      lastExit: null,
      pauseMs: 0,
      timer: undefined,
    };
    this.#children.set(role, child);
    child.timer = undefined;
    child.startedAt = new Date().toISOString();
    child.bornMs = performance.now();
    const log = this.#openLog(role);
    const { directory } = this.#installation;
    const options: SpawnOptions = { detached: true, stdio: ['ignore', log, log], env: childEnv() };
    const started =
      role === 'etcd'
        ? spawn(ETCD, memberWords(directory), { ...options, cwd: directory })
        : spawn(
            process.execPath,
            roleWords(role, { root: PROGRAM_ROOT, data: directory }),
            options,
          );
    if (log !== 'ignore') fs.closeSync(log);
    child.process = started;
    this.#log('process.started', { process: role, pid: started.pid });
    const onExit = (how: Exit): void => void (this.#exits = this.#onExit(role, how));
    started.once('exit', (code, signal) => onExit({ code, signal }));
    started.once('error', (error) => onExit({ error: error.message }));
    this.#write();
  }

  /** The log of a role. Where none can be opened the role starts without: I/O waits for it. */
  #openLog(role: Kept): number | 'ignore' {
    try {
      return fs.openSync(path.join(this.#installation.logDirectory, `${role}.log`), 'a', 0o600);
    } catch {
      return 'ignore';
    }
  }

  async #onExit(role: Kept, how: Exit = {}): Promise<void> {
    const child = this.#children.get(role);
    if (child?.process === undefined) return;
    const { pid } = child.process;
    child.process = undefined;
    child.lastExit = exitInWords(pid, how);
    this.#write();
    const successor = role === 'attacher' ? await this.#servingAttacher() : undefined;
    if (successor !== undefined) this.#adopt(role, successor);
    if (this.#stopping || successor !== undefined) return;
    this.#log('process.exited', { process: role, pid, ...how });
    const lived = performance.now() - child.bornMs;
    child.pauseMs =
      lived > STARTED_MS
        ? 0
        : Math.min(RESTART_PAUSE_MS_MAX, Math.max(RESTART_PAUSE_MS_MIN, child.pauseMs * 2));
    child.restarts++;
    child.timer = setTimeout(() => this.#startChild(role), child.pauseMs);
  }

  /** Notes the processes. A disk that is full or fails must not end what starts the engine again: they are noted later. */
  #write(): void {
    clearTimeout(this.#noteTimer);
    try {
      replaceFile(this.#noteFile, JSON.stringify(this.#note()));
    } catch {
      this.#noteTimer = setTimeout(() => this.#write(), NOTE_PAUSE_MS);
    }
  }

  #note(): SupervisorState {
    return {
      ...this.#identity,
      runMark: runMarkOf(this.#installation.runDirectory),
      startedAt: this.#startedAt,
      processes: Object.fromEntries(
        [...this.#children].map(([role, child]) => [
          role,
          {
            pid: child.process?.pid ?? null,
            startedAt: child.startedAt,
            restarts: child.restarts,
            lastExit: child.lastExit,
          },
        ]),
      ),
      notes: this.#notes,
    };
  }

  /** From now on nothing is started again. */
  beginStop(): void {
    this.#stopping = true;
    for (const child of this.#children.values()) clearTimeout(child.timer);
  }

  /** Ends the processes in order: control, attacher, engine, etcd. What does not end in time is killed. */
  async stop(): Promise<void> {
    this.beginStop();
    await this.#exits;
    for (const role of KEPT.toReversed()) {
      // What control could not unmount is as whole as it can be when the attacher is killed under it.
      if (role === 'attacher') await syncMounts(this.#installation.runDirectory, SYNC_MS_MAX);
      await this.#stopChild(role);
    }
    clearInterval(this.#watchTimer);
    await sweepLeftovers(this.#installation.runDirectory, { scope: 'run' });
    clearTimeout(this.#noteTimer);
    fs.rmSync(this.#noteFile, { force: true });
    this.#lock.release();
  }

  async #stopChild(role: Kept): Promise<void> {
    for (;;) {
      const child = this.#children.get(role)?.process;
      if (child === undefined) return;
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
      await ended;
      clearTimeout(timer);
      // One that has just handed over leaves a successor to be ended.
      await this.#exits;
    }
  }

  /** At once: everything is killed. Nothing acknowledged is lost; mounts are swept at the next start. */
  kill(): void {
    this.beginStop();
    clearInterval(this.#watchTimer);
    for (const child of this.#children.values()) child.process?.kill('SIGKILL');
  }
}

function exitInWords(pid: number | undefined, { code, signal, error }: Exit): string {
  const how =
    error ??
    (typeof signal === 'string'
      ? `was ended by ${signal}`
      : typeof code === 'number'
        ? `exited with ${code}`
        : 'ended');
  return `process ${pid ?? 'without a number'} ${how}`;
}

function identifySelf(): ProcessIdentity {
  const identity = identify(process.pid);
  assert(identity !== undefined, 'a process that runs is found');
  return identity;
}

/** The socket of a service manager that we may run under is not for them. */
function childEnv(): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET: _, ...env } = process.env;
  return { NODE_COMPILE_CACHE: compileCache(PROGRAM_ROOT), ...env };
}
