/** The peer: qemu-nbd on a raw file with O_DIRECT and io_uring, over a unix socket. */

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endProcess, run, runOk, startProcess, waitFor } from '../lib/processes.ts';
import type { Target } from '../lib/fio.ts';
import type { RigFolder } from '../lib/rig.ts';
import type { Server } from '../lib/server.ts';

export class QemuNbd implements Server {
  readonly name = 'qemu-nbd';
  readonly acknowledgedWhen = "in the disk's cache (O_DIRECT)";
  readonly #folder: RigFolder;
  #socketFolder: string | undefined;
  #child: ChildProcess | undefined;

  constructor(folder: RigFolder) {
    this.#folder = folder;
  }

  async version(): Promise<string> {
    return (await runOk('qemu-nbd', ['--version'])).split('\n')[0]?.trim() ?? 'unknown';
  }

  async start(sizeBytes: number): Promise<Target> {
    const image = join(this.#folder.path, 'qemu.img');
    await runOk('fallocate', ['-l', String(sizeBytes), image]);
    // A unix socket's path holds 107 bytes: the data folder may be deeper than that.
    this.#socketFolder = mkdtempSync(join(tmpdir(), 'holdfast-qemu-'));
    const socket = join(this.#socketFolder, 'nbd.sock');
    const uri = `nbd+unix:///?socket=${socket}`;
    this.#child = startProcess(
      'qemu-nbd',
      // -t: stay when the last client leaves. -e 64: as many clients as the rows with 32 jobs need.
      [
        '-t',
        '-e',
        '64',
        '-k',
        socket,
        '--cache=none',
        '--aio=io_uring',
        '--discard=unmap',
        '-f',
        'raw',
        image,
      ],
      { logPath: join(this.#folder.path, 'qemu-nbd.log') },
    );
    this.#folder.recordProcess(this.#child.pid);
    await waitFor(
      'qemu-nbd answers',
      async () => (await run('nbdinfo', ['--size', uri])).exitCode === 0,
      { timeoutMs: 10_000 },
    );
    return { kind: 'nbd', uri, sizeBytes };
  }

  pids(): readonly number[] {
    return this.#child?.pid === undefined ? [] : [this.#child.pid];
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await endProcess(this.#child);
    this.#child = undefined;
    rmSync(join(this.#folder.path, 'qemu.img'), { force: true });
    if (this.#socketFolder !== undefined)
      rmSync(this.#socketFolder, { recursive: true, force: true });
  }
}
