/** What the scripts that run inside of tools/kernel-vm share: programs, an attacher, and a line for each thing that holds. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { AttacherClient } from './attacher-client.ts';

const execute = promisify(execFile);
/** Software emulation is slow; what takes longer hangs. */
const PROGRAM_MS_MAX = 60_000;

const SCRIPT = new URL('attacher-process.ts', import.meta.url).pathname;

/** Tells the test outside of a thing that was seen to hold. */
export const holds = (what: string): void => void process.stdout.write(`holds: ${what}\n`);

/** Runs a program to its end. Resolves with what it printed, on either stream; rejects where it fails or hangs. */
export async function run(program: string, ...values: readonly string[]): Promise<string> {
  const { stdout, stderr } = await execute(program, values, { timeout: PROGRAM_MS_MAX });
  return stdout + stderr;
}

export async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

export type AttachArguments = {
  readonly attachId: string;
  readonly uuid: string;
  readonly socketPath: string;
  readonly sizeBytes: number;
  readonly kind?: string;
};

/** An attacher in a process of its own, over a folder that has a folder `run`. */
export class GuestAttacher {
  readonly client: AttacherClient;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #successor: number | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    this.client = new AttacherClient(`${folder}/run/attacher.sock`);
  }

  async start(): Promise<void> {
    const values = [SCRIPT, '--data', this.#folder];
    const child = spawn(process.execPath, values, { stdio: 'inherit' });
    this.#child = child;
    while (!(await this.client.isListening())) {
      assert.ok(child.exitCode === null && child.signalCode === null, 'the attacher has ended');
      await sleep(100);
    }
  }

  /** Has a successor take over, which `kill` then ends. */
  async handOver(): Promise<void> {
    const pidNow = async (): Promise<number> =>
      Number((await this.client.call('hello', { protocol: 1 })).pid);
    const pid = await pidNow();
    await this.client.call('handover', { pid, node: process.execPath, main: SCRIPT });
    this.#successor = await pidNow();
    assert.notEqual(this.#successor, pid);
  }

  async kill(): Promise<void> {
    if (this.#successor !== undefined) process.kill(this.#successor, 'SIGKILL');
    this.#successor = undefined;
    await kill(this.#child);
  }

  async attach(options: AttachArguments): Promise<{ device: string; kind: string }> {
    const status = await this.client.call('attach', options);
    return { device: String(status.device), kind: String(status.kind) };
  }
}
