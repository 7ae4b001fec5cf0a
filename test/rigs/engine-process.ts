/** An engine process by itself, without supervisor and control, over a folder of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { LineClient } from '../../src/control/line-client.ts';
import type { JsonObject } from '../../src/wire/line-protocol.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const READY_MS_MAX = 30_000;

export class EngineProcess {
  readonly folder: string;
  readonly socketPath: string;
  readonly #readyMsMax: number;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  #client: LineClient | undefined;
  /** What its lives have logged. */
  log = '';

  /** `env`: beside what this process has in its environment. */
  constructor(options: { readonly readyMsMax?: number; readonly env?: NodeJS.ProcessEnv } = {}) {
    this.#readyMsMax = options.readyMsMax ?? READY_MS_MAX;
    this.#env = options.env ?? {};
    this.folder = mkdtempSync(join(tmpdir(), 'hf-engine-'));
    this.socketPath = join(this.folder, 'run', 'engine.sock');
    mkdirSync(join(this.folder, 'run'));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it; resolves when it is ready. */
  async start(...flags: readonly string[]): Promise<void> {
    const child = spawn(process.execPath, [MAIN, 'engine', '--data', this.folder, ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.#env },
    });
    this.#child = child;
    const ready = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ready: ${this.log}`)), this.#readyMsMax);
      let text = '';
      child.stderr.on('data', (bytes: Buffer) => {
        this.log += String(bytes);
        text += String(bytes);
        if (!text.includes('"engine.ready"')) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        reject(new Error(`the engine ended with ${code ?? signal}: ${this.log}`));
      });
    });
    await ready;
  }

  /** Which drives it opens by itself at its next start. */
  listDrives(drives: readonly { readonly driveId: string; readonly path: string }[]): void {
    writeFileSync(join(this.folder, 'engine.json'), JSON.stringify({ version: 1, drives }));
  }

  call(name: string, args: JsonObject = {}): Promise<JsonObject> {
    this.#client ??= new LineClient(this.socketPath, 'ENGINE_UNREACHABLE');
    return this.#client.call(name, args);
  }

  /** Sends a signal; resolves with the exit status, or the signal's name, when it is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    const child = this.#child;
    if (child === undefined) return 0;
    const gone = this.ended();
    child.kill(signal);
    return gone;
  }

  /** Resolves with the exit status, or the signal's name, when it is gone. */
  async ended(): Promise<number | string> {
    const child = this.#child;
    if (child === undefined) return 0;
    this.#child = undefined;
    if (child.exitCode !== null) return child.exitCode;
    const [code, signal]: unknown[] = await once(child, 'exit');
    return typeof code === 'number' ? code : String(signal);
  }

  /** Ends it and removes all that is its. */
  async remove(): Promise<void> {
    this.#client?.close();
    await this.end('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
