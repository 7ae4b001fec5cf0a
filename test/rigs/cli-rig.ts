/** Runs the CLI as users do, in an installation below a test directory that a later run sweeps if this one is killed. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after } from 'node:test';

import { makeTestDirectory, removeTestDirectory } from './control-rig.ts';
import { whyNot } from './attach-rig.ts';
import type { Sandbox } from './sandbox.ts';

const PROGRAM = new URL('../../bin/holdfast', import.meta.url).pathname;

export type Ended = { readonly code: number; readonly out: string; readonly err: string };

export type RunOptions = {
  readonly uid?: number;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** On its standard input. */
  readonly input?: string;
  /** Another build's. */
  readonly program?: string;
};

function parseObject(text: string): Record<string, unknown> {
  const value: Record<string, unknown> = JSON.parse(text);
  return value;
}

export const NOBODY = 65_534;
const withoutDevices = whyNot('mkfs.ext4');
/** Options of tests that mount. */
export const device: { readonly skip?: string } =
  withoutDevices === undefined ? {} : { skip: withoutDevices };
/** Options of tests that run programs as nobody. */
export const root: { readonly skip?: string } =
  process.getuid?.() === 0 ? {} : { skip: 'only root can run programs as nobody' };

/** A rig that is ended after the tests of the file. */
export function useCliRig(): CliRig {
  const rig = new CliRig();
  after(async () => {
    await rig.run(['down']);
    await rig.close();
  });
  return rig;
}

/** Copies a data directory with its drives, holes as holes, and without its sockets. */
export function copyInstallation(from: string, to: string): void {
  execFileSync('cp', ['--recursive', '--sparse=always', from, to]);
  for (const entry of fs.readdirSync(to, { recursive: true, withFileTypes: true })) {
    if (entry.isSocket()) fs.rmSync(path.join(entry.parentPath, entry.name));
  }
}

export class CliRig {
  readonly directory: string = makeTestDirectory();
  readonly data: string;
  /** Where its commands run, if not on the machine itself. */
  sandbox: Sandbox | undefined;

  constructor() {
    this.data = path.join(this.directory, 'data');
  }

  /** In place of Docker's own folder for the sockets of plugins. */
  get pluginDirectory(): string {
    return path.join(this.directory, 'plugins');
  }

  /** Runs one command to its end. It is given this installation by HOLDFAST_DATA. */
  run(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
    const child = this.start(words, options);
    const chunks = { out: '', err: '' };
    child.stdin?.end(options.input);
    child.stdout?.on('data', (chunk: Buffer) => (chunks.out += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (chunks.err += chunk.toString()));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code: code ?? -1, ...chunks }));
    });
  }

  /** Runs one command that must succeed; resolves with its `--output json`. */
  async json(...words: string[]): Promise<Record<string, unknown>> {
    const ended = await this.run([...words, '--output', 'json']);
    if (ended.code !== 0) throw new Error(`${words.join(' ')}: ${ended.code} ${ended.err}`);
    return parseObject(ended.out);
  }

  start(words: readonly string[], options: RunOptions = {}): ChildProcess {
    const all = [options.program ?? PROGRAM, ...words];
    const [program = '', ...rest] = this.sandbox?.words(...all) ?? all;
    return spawn(program, rest, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        HOLDFAST_DATA: this.data,
        HOLDFAST_PLUGIN_DIR: this.pluginDirectory,
        ...options.env,
      },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
  }

  /** `up --detach` with a small sparse drive. */
  up(): Promise<Record<string, unknown>> {
    return this.json('up', '--detach', '--sparse', '--drive-size', '1GiB');
  }

  close(): Promise<void> {
    return removeTestDirectory(this.directory);
  }
}
