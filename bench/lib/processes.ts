/** Child processes of the rigs: run one to its end, keep one running, and read what the kernel knows of any. */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';

export type RunResult = {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  readonly env?: NodeJS.ProcessEnv;
  /** SIGKILL after this long. The default outlasts every command here and only breaks a hang. */
  readonly timeoutMs?: number;
  readonly cwd?: string;
  /** Ctrl-C does not break it off: half-done it would leave what nobody knows of. */
  readonly finishes?: boolean;
};

type Running = { readonly child: ChildProcess; readonly finishes: boolean };

const running = new Set<Running>();
let ending = false;

const RUN_TIMEOUT_MS = 30 * 60_000;
/** Linux: sysconf(_SC_CLK_TCK), fixed at 100 on every architecture that Node supports. */
const TICKS_PER_SECOND = 100;

/** Runs a command to its end. Resolves whatever the exit status; rejects only if it could not be started. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const finishes = options.finishes ?? false;
  if (ending && !finishes) throw new Error(`Not started, the rig ends: "${command}"`);
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // In a process group of its own the terminal's Ctrl-C does not reach it.
    detached: finishes,
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const entry: Running = { child, finishes };
  running.add(entry);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? RUN_TIMEOUT_MS);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? -1));
    });
    return {
      exitCode,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    };
  } finally {
    running.delete(entry);
    clearTimeout(timer);
  }
}

/** Kills the commands that {@link run} has started, waits for those that finish, and lets no more of the former begin. */
export async function endRunning(): Promise<void> {
  ending = true;
  for (const { child, finishes } of running) if (!finishes) child.kill('SIGKILL');
  while (running.size > 0) await sleep(20);
}

/** Whether {@link endRunning} was called. */
export function isEnding(): boolean {
  return ending;
}

/** Runs a command and returns its standard output. Throws with its last words unless it exits with 0. */
export async function runOk(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await run(command, args, options);
  if (result.exitCode !== 0) {
    const words = (result.stderr + result.stdout).trim().slice(-2000);
    throw new Error(`"${command} ${args.join(' ')}" ended with ${result.exitCode}: ${words}`);
  }
  return result.stdout;
}

/** Starts a command that stays, its output in `logPath`. The caller ends it with {@link endProcess}. */
export function startProcess(
  command: string,
  args: readonly string[],
  options: { readonly logPath: string; readonly env?: NodeJS.ProcessEnv },
): ChildProcess {
  mkdirSync(dirname(options.logPath), { recursive: true });
  const log = openSync(options.logPath, 'a');
  const child = spawn(command, args, {
    stdio: ['ignore', log, log],
    env: options.env ?? process.env,
  });
  // Without a listener a missing program would end the rig before it can say which one is missing.
  child.on('error', () => undefined);
  closeSync(log);
  return child;
}

/** SIGTERM, then SIGKILL after `graceMs`. Resolves when the process is gone. */
export async function endProcess(child: ChildProcess, graceMs = 5000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const closed = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await closed;
  clearTimeout(timer);
}

/** Waits until `condition` holds, asking every `everyMs`. Throws after `timeoutMs` with `what` in the message. */
export async function waitFor(
  what: string,
  condition: () => boolean | Promise<boolean>,
  options: { readonly timeoutMs: number; readonly everyMs?: number },
): Promise<void> {
  const endMs = performance.now() + options.timeoutMs;
  while (!(await condition())) {
    if (performance.now() > endMs) {
      throw new Error(`Gave up after ${options.timeoutMs} ms of waiting until ${what}`);
    }
    await sleep(options.everyMs ?? 50);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function statFields(pid: number): string[] | undefined {
  try {
    // The command name is in parentheses and may itself hold spaces and parentheses: cut after the last one.
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** When a living process was started, in ticks since boot; undefined if there is none. */
export function processStartTicks(pid: number): number | undefined {
  const fields = statFields(pid);
  // proc(5): state is field 3, starttime field 22; the slice starts with field 3. A zombie is dead.
  return fields === undefined || fields[0] === 'Z' ? undefined : Number(fields[19]);
}

/** User plus system seconds of `pids`, all threads and io_uring workers included. NaN if one of them is gone. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statFields(pid);
    // proc(5): utime and stime are fields 14 and 15; the slice starts with field 3.
    ticks += fields === undefined ? Number.NaN : Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** A process and every process below it that lives now. */
export function processTree(rootPid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const fields = Number.isInteger(pid) ? statFields(pid) : undefined;
    if (fields !== undefined) parents.set(pid, Number(fields[1]));
  }
  const tree = [rootPid];
  for (let index = 0; index < tree.length; index++) {
    for (const [pid, parent] of parents) if (parent === tree[index]) tree.push(pid);
  }
  return tree;
}

/** Resident bytes of one process, 0 if it is gone. */
export function residentBytes(pid: number): number {
  try {
    const match = /^VmRSS:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return Number(match?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** The most resident bytes that a process ever had. Throws if it is gone: then nobody knows. */
export function residentBytesPeak(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  if (match === null) throw new Error(`Process ${pid} is gone, and with it its peak of memory`);
  return Number(match[1]) * 1024;
}

/** Seconds that all processors together were busy since boot, waiting for disks excluded. */
export function machineBusySeconds(): number {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.trim().split(/\s+/u) ?? [];
  // proc(5): cpu user nice system idle iowait irq softirq.
  const busy = [1, 2, 3, 6, 7].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
  return busy / TICKS_PER_SECOND;
}
