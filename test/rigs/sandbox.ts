/**
 * A place for engines of containers: mount and process namespaces of its own, an empty /run, and the folder where Docker looks for
 * plugins is one of the test's. All that runs in it dies with the test's process, even if that is killed; its mounts with it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { identify } from '../../src/attacher/process-identity.ts';
import { PLUGIN_DIRECTORY } from '../../src/control/docker/plugins.ts';
import { until, whyNot } from './attach-rig.ts';
import type { Ended } from './cli-rig.ts';

const CGROUPS = '/sys/fs/cgroup';
/** Debian's programs come before others of their names. */
const PATH = `/usr/sbin:/usr/bin:/sbin:/bin:${process.env['PATH']}`;

/** Options of tests that need engines of containers. */
export function needing(...programs: readonly string[]): { readonly skip?: string } {
  const why = whyNot('mkfs.ext4', 'unshare', 'nsenter', ...programs);
  return why === undefined ? {} : { skip: why };
}

/** The init of the process namespace: a shell that reaps what is left to it. */
const INIT = `mount -t tmpfs tmpfs /run &&
mkdir -p "$1" "$2" && mount --bind "$2" "$1" && echo ready
sleep infinity & wait`;

export class Sandbox {
  /** The cgroup of the containers, below the machine's root or that of each v1 controller. */
  readonly cgroup: string = `hf-test-${process.pid}`;
  readonly #unshare: ChildProcess;
  readonly #init: number;

  private constructor(unshare: ChildProcess, init: number) {
    this.#unshare = unshare;
    this.#init = init;
  }

  /** `plugins`: the folder for the sockets of plugins. */
  static async start(plugins: string): Promise<Sandbox> {
    sweepCgroups();
    // Slave: what other tests unmount must go in here too, or their volumes would be in use.
    const mounts = ['--mount', '--propagation', 'slave', '--mount-proc'];
    const namespaces = [...mounts, '--pid', '--fork', '--kill-child'];
    const init = ['bash', '-c', INIT, 'init', PLUGIN_DIRECTORY, plugins];
    const words = ['--pdeathsig', 'KILL', 'unshare', ...namespaces, ...init];
    const unshare = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(unshare.stdout, 'data');
    const { pid } = unshare;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return new Sandbox(unshare, Number(children));
  }

  /** The words that run `words` in here. */
  words(...words: readonly string[]): readonly string[] {
    const enter = ['nsenter', '--target', String(this.#init), '--mount', '--pid', '--'];
    return [...enter, 'env', `PATH=${PATH}`, ...words];
  }

  /** Runs a program to its end. */
  run(...words: readonly string[]): Promise<Ended> {
    const [program = '', ...rest] = this.words(...words);
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (chunks.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (chunks.err += chunk.toString()));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code: code ?? -1, ...chunks }));
    });
  }

  /** Starts a program that goes on; what it prints goes to `log`. */
  start(log: string, ...words: readonly string[]): ChildProcess {
    const [program = '', ...rest] = this.words(...words);
    const fd = fs.openSync(log, 'a');
    const child = spawn(program, rest, { stdio: ['ignore', fd, fd] });
    fs.closeSync(fd);
    return child;
  }

  /** Ends all that runs in here. */
  async close(): Promise<void> {
    // FUSE is ended first: a server that dies with what is mounted from it would wait for itself, for ever.
    await this.run('sh', '-c', `awk '$3 ~ /^fuse/ { print $2 }' /proc/mounts | xargs -r umount -f`);
    const ended = once(this.#unshare, 'exit');
    this.#unshare.kill('SIGKILL');
    await ended;
    await until(() => !fs.existsSync(`/proc/${this.#init}`));
    await until(() => removeCgroup(this.cgroup));
  }
}

/** Removes the cgroups of test runs that were killed. */
function sweepCgroups(): void {
  for (const parent of cgroupRoots()) {
    for (const name of fs.readdirSync(parent)) {
      const pid = /^hf-test-(\d+)$/.exec(name)?.[1];
      if (pid !== undefined && identify(Number(pid)) === undefined) removeCgroup(name);
    }
  }
}

/** Where cgroups begin: one hierarchy (v2), or one of each controller (v1). */
function cgroupRoots(): string[] {
  const below = fs.readdirSync(CGROUPS, { withFileTypes: true });
  const folders = below.filter((each) => each.isDirectory());
  return [CGROUPS, ...folders.map(({ name }) => path.join(CGROUPS, name))];
}

/** Whether it is gone, with what is below it. Dying processes keep it for a moment. */
function removeCgroup(name: string): boolean {
  const found = cgroupRoots().map((parent) => path.join(parent, name));
  return found.filter((at) => fs.existsSync(at)).every(removeTree);
}

function removeTree(at: string): boolean {
  const folders = fs.readdirSync(at, { withFileTypes: true }).filter((each) => each.isDirectory());
  if (!folders.every(({ name }) => removeTree(path.join(at, name)))) return false;
  try {
    fs.rmdirSync(at);
    return true;
  } catch {
    return false;
  }
}
