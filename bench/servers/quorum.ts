/** The peer that copies without a cluster: QEMU's quorum, which writes to three nbdkit over TCP and reads from the first. */

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/rigs/etcd-process.ts';
import type { Target } from '../lib/fio.ts';
import { endProcess, run, runOk, startProcess, waitFor } from '../lib/processes.ts';
import type { RigFolder } from '../lib/rig.ts';
import type { Server } from '../lib/server.ts';

const COPIES = [1, 2, 3];
const HOST = '127.0.0.1';

export class Quorum implements Server {
  readonly name: string;
  readonly acknowledgedWhen: string;
  readonly #isFua: boolean;
  readonly #folder: RigFolder;
  readonly #images: readonly string[];
  #socketFolder: string | undefined;
  #children: ChildProcess[] = [];

  /** `isFua`: each copy makes each write durable before it answers. */
  constructor(folder: RigFolder, { isFua }: { readonly isFua: boolean }) {
    this.#folder = folder;
    this.#isFua = isFua;
    this.name = isFua ? 'quorum, FUA' : 'quorum';
    this.acknowledgedWhen = isFua ? 'durable on all three' : 'in the page cache of all three';
    this.#images = COPIES.map((copy) =>
      join(folder.path, `quorum${isFua ? '-fua' : ''}-${copy}.img`),
    );
  }

  async version(): Promise<string> {
    const qemu = (await runOk('qemu-nbd', ['--version'])).split('\n')[0]?.trim();
    return `${qemu}, ${(await runOk('nbdkit', ['--version'])).trim()}`;
  }

  async start(sizeBytes: number): Promise<Target> {
    const options = ['driver=quorum', 'vote-threshold=2', 'read-pattern=fifo'];
    for (const [index, image] of this.#images.entries()) {
      await runOk('fallocate', ['-l', String(sizeBytes), image]);
      const port = await freePort();
      const durable = this.#isFua ? ['--filter=fua', 'file', image, 'fuamode=force'] : [];
      const plugin = this.#isFua ? durable : ['file', image];
      this.#start('nbdkit', ['-f', '-i', HOST, '-p', String(port), ...plugin]);
      await answers(`nbd://${HOST}:${port}`);
      const child = `children.${index}`;
      options.push(`${child}.driver=nbd`, `${child}.server.type=inet`);
      options.push(`${child}.server.host=${HOST}`, `${child}.server.port=${port}`);
    }
    // A unix socket's path holds 107 bytes: the data folder may be deeper than that.
    this.#socketFolder = mkdtempSync(join(tmpdir(), 'holdfast-quorum-'));
    const socket = join(this.#socketFolder, 'nbd.sock');
    const uri = `nbd+unix:///?socket=${socket}`;
    this.#start('qemu-nbd', ['-t', '-e', '64', '-k', socket, '--image-opts', options.join(',')]);
    await answers(uri);
    return { kind: 'nbd', uri, sizeBytes };
  }

  pids(): readonly number[] {
    return this.#children.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) await endProcess(child);
    this.#children = [];
    for (const image of this.#images) rmSync(image, { force: true });
    if (this.#socketFolder !== undefined) rmSync(this.#socketFolder, { recursive: true });
    this.#socketFolder = undefined;
  }

  #start(command: string, args: readonly string[]): void {
    const logPath = join(this.#folder.path, `${command}.log`);
    const child = startProcess(command, args, { logPath });
    this.#folder.recordProcess(child.pid);
    this.#children.push(child);
  }
}

async function answers(uri: string): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await run('nbdinfo', ['--size', uri])).exitCode === 0;
  await waitFor(`${uri} answers`, isThere, { timeoutMs: 10_000 });
}
