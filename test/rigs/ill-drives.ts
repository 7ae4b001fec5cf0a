/** Drives that can be made ill: a FUSE file in the place of each, served by a process of its own, which dies with this one. Needs root. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';

const PROGRAM = new URL('ill-drives-process.ts', import.meta.url).pathname;

/**
 * `hangs`: nothing is done until it is over; `slow`: flushes take 300 ms longer; `fails`: one write or flush in three ends with EIO;
 * `unreadable`: one read in three does.
 */
export type Illness = 'hangs' | 'slow' | 'fails' | 'unreadable';

export type IllnessMessage = { readonly path: string; readonly illness?: Illness };

export class IllDrives {
  readonly #process: ChildProcess;
  readonly #ended: Promise<never>;

  private constructor(paths: readonly string[]) {
    // Disks do not wait for a processor.
    const words = ['--pdeathsig', 'KILL', 'nice', '-n', '-15', process.execPath, PROGRAM];
    this.#process = spawn('setpriv', [...words, ...paths], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // Without io_uring a thread waits for each file's next request.
      env: { ...process.env, UV_THREADPOOL_SIZE: String(4 + 4 * paths.length) },
    });
    this.#ended = once(this.#process, 'exit').then(([status]: unknown[]) =>
      assert.fail(`the process of the drives ended with ${String(status)}`),
    );
    // That concerns whoever waits for an answer then.
    this.#ended.catch(() => undefined);
  }

  /** Puts itself in the place of the files at `paths`, which nobody has open. */
  static async start(paths: readonly string[]): Promise<IllDrives> {
    const drives = new IllDrives(paths);
    await drives.#answer();
    return drives;
  }

  /** What the drive at `path` has from now on; undefined: it is well. */
  async afflict(path: string, illness: Illness | undefined): Promise<void> {
    const message: IllnessMessage = illness === undefined ? { path } : { path, illness };
    this.#process.send(message);
    await this.#answer();
  }

  /** What waits for it fails. The mounts are for `removeTestDirectory` to undo. */
  async close(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended.catch(() => undefined);
  }

  async #answer(): Promise<void> {
    await Promise.race([once(this.#process, 'message'), this.#ended]);
  }
}
