/**
 * PostgreSQL on the tour's volume: the programs of the distribution's package, run from their folder as an unprivileged
 * user, reachable over a unix socket alone. No service of the system is touched.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chownSync, closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { processes } from '../env/node/processes.ts';
import { postgresFolders } from '../../bootstrap/debian-packages.mjs';

/** Who runs it: the package's own user, or the one that owns nothing. */
const USERS = ['postgres', 'nobody'];
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 60_000;

export type User = { readonly name: string; readonly uid: number; readonly gid: number };

export type PostgresFolders = {
  /** Made by initdb: on the volume. */
  readonly data: string;
  /** For its unix socket. */
  readonly socket: string;
  /** A file; outside of the volume. */
  readonly log: string;
};

/** The folder of PostgreSQL's programs, of the newest version here, or undefined. */
export function findPostgres(): string | undefined {
  return postgresFolders().find((folder) => existsSync(join(folder, 'initdb')));
}

/** The user that PostgreSQL runs as; it refuses to run as root. */
export function postgresUser(): User {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of USERS) {
    const line = lines.find((each) => each.startsWith(`${name}:`));
    const [, , uid, gid] = line?.split(':') ?? [];
    if (uid !== undefined) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`Cannot run PostgreSQL: none of the users ${USERS.join(', ')} exists`);
}

export class Postgres {
  readonly #programs: string;
  readonly #user: User;
  readonly #folders: PostgresFolders;
  #server: ChildProcess | undefined;

  constructor(programs: string, user: User, folders: PostgresFolders) {
    this.#programs = programs;
    this.#user = user;
    this.#folders = folders;
  }

  /** Such as "15.13". */
  async version(): Promise<string> {
    const { stdout } = await promisify(execFile)(join(this.#programs, 'postgres'), ['--version']);
    return /\d[\d.]*/.exec(stdout)?.[0] ?? '';
  }

  /** Makes the database; its folder and the socket's get the user as their owner. */
  async initialize(): Promise<void> {
    const { data, socket } = this.#folders;
    for (const folder of [data, socket]) chownSync(folder, this.#user.uid, this.#user.gid);
    const args = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
    const child = this.#spawn('initdb', [...args, '--no-sync']);
    // A thousand files by one flush instead of one each.
    if (!(await succeeds(child)) || !(await succeeds(spawn('sync', ['-f', data]))))
      throw new Error(`initdb failed; see ${this.#folders.log}`);
  }

  /** Starts it and waits until it takes connections: after recovery, if there is something to recover. */
  async start(): Promise<void> {
    const settings = [
      'listen_addresses=',
      `unix_socket_directories=${this.#folders.socket}`,
      'shared_buffers=64MB',
      'max_connections=20',
      // Every COMMIT waits for its flush: what the tour is about. These are the defaults.
      'fsync=on',
      'synchronous_commit=on',
      // After a crash it makes durable what is there: by one call, where it knows that.
      ...(Number.parseInt(await this.version(), 10) >= 14
        ? ['recovery_init_sync_method=syncfs']
        : []),
    ].flatMap((setting) => ['-c', setting]);
    const server = this.#spawn('postgres', ['-D', this.#folders.data, ...settings]);
    this.#server = server;
    const deadlineMs = performance.now() + START_MS_MAX;
    while (!(await this.#isReady())) {
      if (server.exitCode !== null || performance.now() > deadlineMs) {
        throw new Error(`PostgreSQL does not start; see ${this.#folders.log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Ends it in order: a checkpoint, then a clean exit. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.on('exit', resolve));
    // PostgreSQL, "Shutting Down the Server": SIGINT is the fast shutdown, SIGKILL none.
    server.kill('SIGINT');
    const guard = setTimeout(() => server.kill('SIGKILL'), STOP_MS_MAX);
    await ended;
    clearTimeout(guard);
  }

  /** Ends it as a power cut would, and waits until it is gone: what is mounted below it stays in use as long. */
  async die(): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.on('exit', resolve));
    this.kill();
    await ended;
  }

  /** Ends it at once, without a checkpoint. */
  kill(): void {
    const pid = this.#server?.pid;
    if (pid === undefined) return;
    // Each of its processes has a group of its own, and one that waits for another does not notice that the first is dead.
    process.kill(pid, 'SIGSTOP');
    const others = processes.pids().filter((each) => processes.parentOf(each) === pid);
    for (const each of [pid, ...others]) process.kill(each, 'SIGKILL');
  }

  /** Starts psql on it: statements on its standard input, results on its standard output. */
  openPsql(): ChildProcess {
    const format = ['--no-psqlrc', '--quiet', '--no-align', '--tuples-only'];
    const where = ['--host', this.#folders.socket, '--username', 'postgres', 'postgres'];
    // Without ON_ERROR_STOP psql would go on behind an error, and a failed COMMIT would look like one that returned.
    const args = [...format, '--set', 'ON_ERROR_STOP=1', ...where];
    return this.#spawn('psql', args, 'pipe');
  }

  async #isReady(): Promise<boolean> {
    return await succeeds(this.#spawn('pg_isready', ['--quiet', '--host', this.#folders.socket]));
  }

  /** Its own process group: Ctrl-C is the tour's to handle. */
  #spawn(program: string, args: readonly string[], inOut: 'pipe' | 'log' = 'log'): ChildProcess {
    const log = openSync(this.#folders.log, 'a', 0o600);
    try {
      return spawn(join(this.#programs, program), args, {
        uid: this.#user.uid,
        gid: this.#user.gid,
        cwd: this.#folders.socket,
        detached: true,
        env: { PATH: process.env['PATH'], LC_ALL: 'C' },
        stdio: inOut === 'pipe' ? ['pipe', 'pipe', log] : ['ignore', log, log],
      });
    } finally {
      closeSync(log);
    }
  }
}

async function succeeds(child: ChildProcess): Promise<boolean> {
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code === 0));
  });
}
