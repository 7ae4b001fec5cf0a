/** Holdfast itself: one installation with a file drive, one volume attached over NBD. */

import { join } from 'node:path';
import type { Target } from '../lib/fio.ts';
import { Installation } from '../lib/installation.ts';
import type { Server } from '../lib/server.ts';

const VOLUME = 'bench';
/** The volumes of the never-written rows come and go beside the main one, and cells are freed in the background. */
const DRIVE_VOLUMES = 6;
/** The log, the superblocks and the metadata of each chunk: small volumes get less, so that the quick form is quick. */
const DRIVE_OVERHEAD_BYTES_MAX = 2 * 2 ** 30;
const DRIVE_OVERHEAD_VOLUMES = 4;

/** Of the drive that a volume of `sizeBytes` is measured on. */
export function driveSizeBytes(sizeBytes: number): number {
  const overhead = Math.min(DRIVE_OVERHEAD_BYTES_MAX, DRIVE_OVERHEAD_VOLUMES * sizeBytes);
  return DRIVE_VOLUMES * sizeBytes + overhead;
}

export class Holdfast implements Server {
  readonly name = 'Holdfast';
  readonly acknowledgedWhen = "data and log record in the disk's cache (O_DIRECT), checksummed";
  readonly installation: Installation;
  #pids: readonly number[] = [];
  #ioKind = 'unknown';
  #freshCount = 0;

  constructor(folder: string) {
    this.installation = new Installation({ dataFolder: join(folder, 'holdfast') });
  }

  async version(): Promise<string> {
    return `${await this.installation.version()}, ${this.#ioKind}`;
  }

  async start(sizeBytes: number): Promise<Target> {
    await this.installation.up({ driveSizeBytes: driveSizeBytes(sizeBytes) });
    await this.installation.createVolume(VOLUME, sizeBytes);
    const uri = await this.installation.attachNbd(VOLUME);
    const status = await this.installation.status();
    this.#pids = [status.enginePid];
    this.#ioKind = status.ioKind;
    return { kind: 'nbd', uri, sizeBytes };
  }

  /** Runs `use` on a volume in which nothing was ever written; the volume is deleted afterwards. */
  async withFreshVolume<T>(sizeBytes: number, use: (target: Target) => Promise<T>): Promise<T> {
    const name = `fresh-${++this.#freshCount}`;
    await this.installation.createVolume(name, sizeBytes);
    try {
      const uri = await this.installation.attachNbd(name);
      return await use({ kind: 'nbd', uri, sizeBytes });
    } finally {
      await this.installation.detach(name);
      await this.installation.removeVolume(name);
    }
  }

  pids(): readonly number[] {
    return this.#pids;
  }

  async stop(): Promise<void> {
    await this.installation.remove();
  }
}
