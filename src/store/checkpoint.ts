/**
 * Checkpoints: what the log says so far goes to the places it is about, so that its ring can be reused.
 *
 * The order is the safety (drive-store.md, O8): payload applied -> pages -> directory -> fdatasync -> superblock, both copies ->
 * fdatasync -> only now the log before the tail is free and the old copies may be overwritten.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault } from '../model/errors.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { DriveState } from './drive-state.ts';
import type { LifeFields } from './life.ts';
import { logMarksAgain } from './mark-log.ts';
import type { PageWriter } from './page-writer.ts';
import { writeSuperblock } from './superblock-writer.ts';
import type { Superblock } from './superblock.ts';
import type { Volume } from './volume.ts';

/** Pages mirrored at once: so many after each checkpoint, all of them when the drive is idle. */
const MIRROR_PAGES = 64;

export type CheckpointParts = {
  readonly drive: DriveState;
  readonly ioAsync: IoAsync;
  readonly pageWriter: PageWriter;
  readonly nextVolumeNumber: () => number;
  readonly volumes: () => Iterable<Volume>;
  /** Resolves once everything written before is on media. */
  readonly flush: () => Promise<void>;
  /** Resolves at the end of a turn in which something may have changed. */
  readonly nextTurn: () => Promise<void>;
};

/** What a checkpoint changes of the superblock, beside what it finds itself. */
export type SuperblockChanges = Partial<Pick<Superblock, 'clean' | 'layout'> & LifeFields>;

/** Takes checkpoints, one at a time. */
export class Checkpointer {
  readonly #parts: CheckpointParts;
  readonly #block: number;
  #superblock: Superblock;
  #running: Promise<void> | undefined;
  /** Checkpoints that wait for what is running. */
  #waiting = 0;
  #isWanted = false;

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
  async run(changes: SuperblockChanges = {}): Promise<void> {
    this.#waiting++;
    try {
      while (this.#running !== undefined) await this.#running;
    } finally {
      this.#waiting--;
    }
    this.#running = this.#run(changes).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** A checkpoint is due: mirroring makes way for it. */
  makeWay(): void {
    this.#isWanted = true;
  }

  /** Resolves once nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
  }

  async #run(changes: SuperblockChanges): Promise<void> {
    const { drive, pageWriter, ioAsync, flush } = this.#parts;
    const { log, media } = drive;
    while (!log.seal()) await this.#turn();
    const position = log.position();
    const marksLsn = await this.#logMarks();
    await this.#applied(position.lsn - 1);
    await pageWriter.writeAll();
    const n = this.#superblock.n + 1;
    const directoryPages = await pageWriter.writeDirectory(n);
    // What the superblock says of its marks is durable by then, data included.
    while (log.settledLsn < marksLsn) await this.#turn();
    await flush();
    const [low, high] = drive.directory.digest();
    const superblock: Superblock = {
      ...this.#superblock,
      n,
      tailLsn: position.lsn,
      tailBlock: position.block,
      tailChain: position.chain,
      clean: false,
      marksLsn,
      directoryDigestLow: low,
      directoryDigestHigh: high,
      nextVolumeNumber: this.#parts.nextVolumeNumber(),
      ...changes,
    };
    await writeSuperblock({ media, ioAsync, address: this.#block, superblock });
    await flush();
    this.#superblock = superblock;
    log.checkpoint = n;
    drive.directory.checkpointed();
    log.releaseTo(position);
    media.counters.checkpoints++;
    await pageWriter.mirrorDirectory(directoryPages);
    if (superblock.clean) while ((await pageWriter.mirror(MIRROR_PAGES)) > 0);
    else await pageWriter.mirror(MIRROR_PAGES);
  }

  /** The marks that are still open lie in no other place than the log, whose older part is about to go. */
  #logMarks(): Promise<number> {
    return logMarksAgain(this.#parts.drive, this.#parts.volumes(), () => this.#turn());
  }

  /**
   * Makes copies of pages equal, for a drive with nothing else to do: of those that are known to differ, then of those that comparing them
   * in at most `comparisons` steps finds. Each step reads up to 256 KiB. Resolves with whether it went through all pages; a checkpoint
   * that is due ends it early. Not while a checkpoint is under way.
   */
  async mirror(comparisons: number): Promise<boolean> {
    assert(this.#running === undefined, 'mirroring does not wait for a checkpoint');
    this.#isWanted = false;
    let isThrough = false;
    this.#running = this.#mirror(comparisons)
      .then((through) => {
        isThrough = through;
      })
      .finally(() => {
        this.#running = undefined;
      });
    await this.#running;
    return isThrough;
  }

  async #mirror(comparisons: number): Promise<boolean> {
    const { pageWriter } = this.#parts;
    let marked = MIRROR_PAGES;
    for (let step = 0; ; step++) {
      // Looking for marked pages goes through the flags of all: it is worth it for some of them.
      if (marked >= MIRROR_PAGES) {
        if (!(await this.#mirrorMarked())) return false;
        marked = 0;
      }
      if (step === comparisons || this.#hasToMakeWay) break;
      const more = await pageWriter.compareCopies();
      this.#check();
      if (more === undefined) return await this.#mirrorMarked();
      marked += more;
    }
    await this.#mirrorMarked();
    return false;
  }

  /** Whether all of them are mirrored. */
  async #mirrorMarked(): Promise<boolean> {
    while (!this.#hasToMakeWay) {
      this.#check();
      if ((await this.#parts.pageWriter.mirror(MIRROR_PAGES)) === 0) return true;
    }
    return false;
  }

  get #hasToMakeWay(): boolean {
    return this.#isWanted || this.#waiting > 0;
  }

  /** Waits until everything up to frame `lsn` is durable and in its place. */
  async #applied(lsn: number): Promise<void> {
    const { log, payloads, flusher } = this.#parts.drive;
    let asked = false;
    while (payloads.appliedLsn < lsn || log.durableLsn < lsn) {
      if (!asked && log.durableLsn < lsn) flusher.require(lsn, () => undefined);
      asked = true;
      // A batch with nothing left to write is over at once, and no completion would end the wait.
      let applied: number;
      do {
        applied = payloads.appliedLsn;
        payloads.start();
      } while (payloads.appliedLsn > applied);
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
}
