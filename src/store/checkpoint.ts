/**
 * Checkpoints: what the log says so far goes to the places it is about, so that its ring can be reused.
 *
 * The order is the safety (drive-store.md, O8): payload applied -> pages -> directory -> fdatasync -> superblock, both copies ->
 * fdatasync -> only now the log before the tail is free and the old copies may be overwritten.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { DriveState } from './drive-state.ts';
import type { Layout } from './geometry.ts';
import type { PageWriter } from './page-writer.ts';
import { writeSuperblock } from './superblock-writer.ts';
import type { Superblock } from './superblock.ts';

/** Pages mirrored after each checkpoint; when the drive is idle, all of them. */
const MIRROR_PAGES = 64;

export type CheckpointParts = {
  readonly drive: DriveState;
  readonly ioAsync: IoAsync;
  readonly pageWriter: PageWriter;
  readonly nextVolumeNumber: () => number;
  /** Resolves at the end of a turn in which something may have changed. */
  readonly nextTurn: () => Promise<void>;
};

/** Takes checkpoints, one at a time. */
export class Checkpointer {
  readonly #parts: CheckpointParts;
  readonly #block: number;
  #superblock: Superblock;
  #running: Promise<void> | undefined;

  constructor(parts: CheckpointParts, superblock: Superblock) {
    this.#parts = parts;
    this.#superblock = superblock;
    this.#block = parts.drive.media.arena.reserve(BLOCK_BYTES, BLOCK_BYTES);
  }

  get superblock(): Superblock {
    return this.#superblock;
  }

  get running(): boolean {
    return this.#running !== undefined;
  }

  /** Makes a checkpoint, after the one under way. Rejects with a Fault when the drive stops. */
  async run(options: { readonly clean?: boolean; readonly layout?: Layout } = {}): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = this.#run(options).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #run(options: { readonly clean?: boolean; readonly layout?: Layout }): Promise<void> {
    const { drive, pageWriter, ioAsync } = this.#parts;
    const { log, media } = drive;
    while (!log.seal()) await this.#turn();
    const position = log.position();
    await this.#applied(position.lsn - 1);
    await pageWriter.writeAll();
    const n = this.#superblock.n + 1;
    const directoryPages = await pageWriter.writeDirectory(n);
    await this.#flush();
    const [low, high] = drive.directory.digest();
    const superblock: Superblock = {
      ...this.#superblock,
      layout: options.layout ?? this.#superblock.layout,
      n,
      tailLsn: position.lsn,
      tailBlock: position.block,
      tailChain: position.chain,
      clean: options.clean ?? false,
      directoryDigestLow: low,
      directoryDigestHigh: high,
      nextVolumeNumber: this.#parts.nextVolumeNumber(),
    };
    await writeSuperblock({ media, ioAsync, address: this.#block, superblock });
    await this.#flush();
    this.#superblock = superblock;
    log.checkpoint = n;
    drive.directory.checkpointed();
    log.releaseTo(position);
    media.counters.checkpoints++;
    await pageWriter.mirrorDirectory(directoryPages);
    if (options.clean === true) while ((await pageWriter.mirror(MIRROR_PAGES)) > 0);
    else await pageWriter.mirror(MIRROR_PAGES);
  }

  /** Mirrors what is left, for a drive with nothing else to do. */
  async mirror(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = this.#mirror().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #mirror(): Promise<void> {
    while ((await this.#parts.pageWriter.mirror(MIRROR_PAGES)) > 0) this.#check();
  }

  /** Waits until everything up to frame `lsn` is durable and in its place. */
  async #applied(lsn: number): Promise<void> {
    const { log, payloads, flusher } = this.#parts.drive;
    let asked = false;
    while (payloads.appliedLsn < lsn || log.durableLsn < lsn) {
      if (!asked && log.durableLsn < lsn) flusher.require(lsn, () => undefined);
      asked = true;
      payloads.start();
      // With nothing left to write it is over at once, and no completion would end the wait.
      if (payloads.appliedLsn >= lsn && log.durableLsn >= lsn) return;
      await this.#turn();
    }
  }

  async #turn(): Promise<void> {
    await this.#parts.nextTurn();
    this.#check();
  }

  #check(): void {
    const { fault } = this.#parts.drive.media;
    if (fault !== undefined) throw new Fault('DRIVE_IO', { problem: fault });
  }

  async #flush(): Promise<void> {
    const { media } = this.#parts.drive;
    this.#check();
    try {
      await this.#parts.ioAsync.flush(media.fd);
    } catch (error) {
      media.stop(`fdatasync failed (${String(error)})`);
      throw error;
    }
    media.counters.fdatasyncs++;
  }
}
