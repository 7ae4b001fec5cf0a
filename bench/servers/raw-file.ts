/** The limit: fio itself on a file with O_DIRECT. No server. */

import { join } from 'node:path';
import { mkdirSync, rmSync } from 'node:fs';
import { runOk } from '../lib/processes.ts';
import type { Target } from '../lib/fio.ts';
import type { Server } from '../lib/server.ts';

export class RawFile implements Server {
  readonly name = 'raw file';
  readonly acknowledgedWhen = "in the disk's cache (O_DIRECT)";
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async version(): Promise<string> {
    return (await runOk('fio', ['--version'])).trim();
  }

  async start(sizeBytes: number): Promise<Target> {
    mkdirSync(this.#folder, { recursive: true });
    const path = join(this.#folder, 'raw.img');
    await runOk('fallocate', ['-l', String(sizeBytes), path]);
    return { kind: 'file', path, sizeBytes };
  }

  pids(): readonly number[] {
    return [];
  }

  async stop(): Promise<void> {
    rmSync(join(this.#folder, 'raw.img'), { force: true });
  }
}
