/**
 * What the tests of attaching share: a run directory, an NBD server over a file that can be killed and started again, and an
 * attacher process. Everything dies with the test's process, even if that is killed; what the kernel keeps then is swept by
 * the next run.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { identify } from '../../src/attacher/process-identity.ts';
import { MadeLog } from '../../src/attacher/made-log.ts';
import { type SweepReport, sweepLeftovers } from '../../src/attacher/sweep.ts';
import type { JsonObject } from '../../src/wire/line-protocol.ts';
import { AttacherClient } from './attacher-client.ts';

/** The process is named, so that test files that run at once leave each other alone. */
const PREFIX = `hf-attach-${process.pid}-`;
const ATTACHER = new URL('./attacher-process.ts', import.meta.url).pathname;
export const UUID = '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11';

/** Why attaching cannot be tested here, or undefined. */
export function whyNot(...programs: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'attaching needs root';
  if (!fs.existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  if (!fs.existsSync('/dev/loop-control')) return 'there are no loop devices';
  const directories = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/bin'];
  const missing = ['qemu-nbd', 'setpriv', ...programs].filter(
    (program) => !directories.some((directory) => fs.existsSync(path.join(directory, program))),
  );
  return missing.length === 0 ? undefined : `${missing.join(' and ')} not installed`;
}

/** Sweeps what test runs left that were killed. */
export async function sweepEarlierRuns(): Promise<void> {
  for (const name of fs.readdirSync(os.tmpdir())) {
    const pid = /^hf-attach-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || identify(Number(pid)) !== undefined) continue;
    const directory = path.join(os.tmpdir(), name);
    const report = await sweepLeftovers(path.join(directory, 'run'), { scope: 'run' });
    if (report.left.length === 0) fs.rmSync(directory, { recursive: true, force: true });
  }
}

export class AttachRig {
  readonly directory: string;
  readonly runDir: string;
  readonly attachId: string = 'a7'.repeat(16);
  readonly sizeBytes: number;
  readonly made: MadeLog;
  attacherLog = '';
  readonly #client: AttacherClient;
  #server: ChildProcess | undefined;
  #attacher: ChildProcess | undefined;
  #successor: number | undefined;

  constructor(options: { readonly sizeBytes: number }) {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), PREFIX));
    this.runDir = path.join(this.directory, 'run');
    fs.mkdirSync(this.runDir);
    this.sizeBytes = options.sizeBytes;
    fs.writeFileSync(this.imagePath, '');
    fs.truncateSync(this.imagePath, options.sizeBytes);
    this.made = new MadeLog(this.runDir);
    this.#client = new AttacherClient(path.join(this.runDir, 'attacher.sock'));
  }

  get imagePath(): string {
    return path.join(this.directory, 'image');
  }

  get socketPath(): string {
    return path.join(this.directory, 'nbd.sock');
  }

  get mountPath(): string {
    return path.join(this.directory, 'mnt');
  }

  get attacherPid(): number {
    return this.#attacher!.pid!;
  }

  /** Starts the server and waits until it listens. */
  async startServer(exportName: string = this.attachId): Promise<void> {
    fs.rmSync(this.socketPath, { force: true });
    const where = ['-x', exportName, '-k', this.socketPath, '-t', '-e', '16'];
    const what = ['-f', 'raw', '--cache=none', '--discard=unmap', '--detect-zeroes=off'];
    this.#server = start('qemu-nbd', [...where, ...what, this.imagePath]);
    await until(() => fs.existsSync(this.socketPath));
  }

  /** SIGKILL. What it acknowledged is in the file. */
  async killServer(): Promise<void> {
    await kill(this.#server);
    this.#server = undefined;
  }

  async startAttacher(io: 'auto' | 'node' = 'auto'): Promise<void> {
    const values = [ATTACHER, '--data', this.directory, '--io', io];
    this.#attacher = start(process.execPath, values);
    this.#attacher.stderr!.on('data', (bytes) => {
      this.attacherLog += String(bytes);
    });
    const { stderr } = this.#attacher;
    stderr!.resume();
    await until(() => this.#client.isListening());
  }

  /** Has a successor take over, which the rig then ends in its place. Resolves with its process. */
  async handOver(): Promise<number> {
    const { pid } = await this.call('hello', { protocol: 1 });
    await this.call('handover', { pid, node: process.execPath, main: ATTACHER });
    await until(async () => (await this.call('hello', { protocol: 1 })).pid !== pid);
    this.#successor = Number((await this.call('hello', { protocol: 1 })).pid);
    return this.#successor;
  }

  async killAttacher(): Promise<void> {
    await kill(this.#attacher);
    this.#attacher = undefined;
    const successor = this.#successor;
    if (successor === undefined || identify(successor) === undefined) return;
    process.kill(successor, 'SIGKILL');
    // Its other threads may end after the one that has its name.
    await until(
      async () => identify(successor) === undefined && !(await this.#client.isListening()),
    );
  }

  async stopAttacher(): Promise<number | null> {
    const attacher = this.#attacher!;
    const ended = once(attacher, 'exit');
    attacher.kill('SIGTERM');
    await ended;
    return attacher.exitCode;
  }

  /** One call to the attacher. Rejects with the code of an error. */
  call(call: string, args: JsonObject = {}): Promise<JsonObject> {
    return this.#client.call(call, args);
  }

  /** Attaches and returns the device. */
  async attach(kind = 'fuse-loop'): Promise<string> {
    const { attachId, socketPath, sizeBytes } = this;
    const status = await this.call('attach', { attachId, uuid: UUID, socketPath, sizeBytes, kind });
    return String(status.device);
  }

  sweep(scope: 'run' | 'attacher'): Promise<SweepReport> {
    return sweepLeftovers(this.runDir, { scope });
  }

  /** Ends all. Whatever a failed test left goes by force; what cannot go fails the test. */
  async close(): Promise<void> {
    await this.killAttacher();
    await this.killServer();
    const report = await this.sweep('run');
    if (report.left.length > 0) throw new Error(`left behind: ${JSON.stringify(report.left)}`);
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** SHA-256 of a file, read past the page cache where `direct`. */
export function hashOf(file: string): string {
  return execFileSync('sha256sum', [file], { encoding: 'utf8' }).slice(0, 64);
}

export function run(program: string, ...values: readonly string[]): string {
  return execFileSync(program, values, {
    encoding: 'utf8',
    env: { ...process.env, PATH: `/usr/sbin:/sbin:${process.env.PATH}` },
  });
}

/** Waits for a condition, 20 s at most, or as long as is told. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  limitMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs / 1000} s in vain`);
    await sleep(10);
  }
}

/** A child that the kernel kills when this process dies. */
function start(program: string, values: readonly string[]): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', program, ...values], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Runs `use` with a rig whose server and attacher run, and leaves nothing. */
export async function withRig(
  sizeBytes: number,
  use: (rig: AttachRig) => Promise<void>,
  io: 'auto' | 'node' = 'auto',
): Promise<void> {
  const rig = new AttachRig({ sizeBytes });
  try {
    await rig.startServer();
    await rig.startAttacher(io);
    await use(rig);
  } catch (error) {
    process.stderr.write(rig.attacherLog);
    // What failed first is what counts.
    await rig.close().catch(() => {});
    throw error;
  }
  await rig.close();
}
