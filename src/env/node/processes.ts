/** Facts about other processes: from /proc where there is one, else (macOS) from ps(1). */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

const HAS_PROC = existsSync('/proc/self/stat');
/** Fields of /proc/PID/stat after the command, which stands in parentheses and may hold anything. */
const PARENT_FIELD = 1;
const START_TIME_FIELD = 19;
const ZOMBIE = 'Z';

export type Processes = {
  /** When `pid` started: the kernel's ticks, or seconds where ps tells. Undefined if there is none, or none that still runs. */
  startOf(pid: number): number | undefined;
  /** The process that started it, or that took its place; undefined if there is none, or none that still runs. */
  parentOf(pid: number): number | undefined;
  /** The words of its command line, empty if there is none. Those of ps are parted at spaces. */
  wordsOf(pid: number): readonly string[];
  pids(): readonly number[];
};

export const processesOfProc: Processes = {
  startOf: (pid) => statOf(pid, START_TIME_FIELD),
  parentOf: (pid) => statOf(pid, PARENT_FIELD),
  wordsOf: (pid) => textOf(`/proc/${pid}/cmdline`).split('\0').filter(Boolean),
  pids: () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number),
};

function statOf(pid: number, field: number): number | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' || fields[0] === ZOMBIE ? undefined : Number(fields[field]);
}

/** POSIX has `comm`, `args`, `pid` and `ppid`; `lstart` and `stat` are of BSD's ps and Linux's. */
export const processesOfPs: Processes = {
  startOf: (pid) => {
    const [state, ...start] = ps(['-o', 'stat=', '-o', 'lstart=', '-p', String(pid)])
      .trim()
      .split(/\s+/);
    if (state === undefined || state === '' || state.startsWith(ZOMBIE)) return undefined;
    return Date.parse(start.join(' ')) / 1000;
  },
  parentOf: (pid) => {
    const [state = '', parent] = ps(['-o', 'stat=', '-o', 'ppid=', '-p', String(pid)])
      .trim()
      .split(/\s+/);
    return state === '' || state.startsWith(ZOMBIE) ? undefined : Number(parent);
  },
  wordsOf: (pid) =>
    ps(['-ww', '-o', 'args=', '-p', String(pid)])
      .trim()
      .split(' ')
      .filter(Boolean),
  pids: () =>
    ps(['-axo', 'pid='])
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0),
};

export const processes: Processes = HAS_PROC ? processesOfProc : processesOfPs;

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has ended.
    return '';
  }
}

function ps(options: readonly string[]): string {
  try {
    return execFileSync('ps', options, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: process.env['PATH'] ?? '/bin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' },
    });
  } catch {
    // Its way of saying that there is none.
    return '';
  }
}
