/**
 * What a drive does at the end of each turn, and when it does what no client asked for: flush by itself, apply logged payload,
 * free cells, checkpoint.
 */

import { Fault } from '../model/errors.ts';
import type { Port } from '../env/io.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { Core } from './core.ts';
import type { DriveState } from './drive-state.ts';

/** A checkpoint is due at this much log: 128 MiB, or a quarter of a smaller ring (drive-store.md, section 3). */
const CHECKPOINT_BLOCKS = 32 * 1024;
/** Or this long after the first change that none covers. */
const CHECKPOINT_MS = 30_000;
const TIMER_CHECKPOINT = 0;
/**
 * Steps of comparing copies of pages after a checkpoint of a busy drive, at most 2 MiB: the 2.8 GiB of a TiB in a day or so at one each
 * minute. An idle drive goes through all.
 */
const COMPARISONS = 8;

export class TurnKeeper {
  readonly #drive: DriveState;
  readonly #core: Core;
  readonly #timers: Port;
  #checkpointer: Checkpointer | undefined;
  #waiting: (() => void)[] = [];
  #timerArmed = false;
  #idleDue = false;
  #uncompared = false;
  #checkpointedLsn: number;
  #seenActivity = 0;
  #stopped = false;
  #failed = false;

  constructor(drive: DriveState, core: Core) {
    this.#drive = drive;
    this.#core = core;
    this.#checkpointedLsn = drive.log.sealedLsn;
    this.#timers = drive.media.io.port((_, result) => this.#onTimer(result));
    drive.media.io.onTurnEnd(() => this.endTurn());
  }

  start(checkpointer: Checkpointer): void {
    this.#checkpointer = checkpointer;
  }

  /** The drive serves: all copies of pages are compared as soon as it is idle, or by and by. */
  startMirroring(): void {
    this.#idleDue = true;
    this.#uncompared = true;
  }

  /** Called after each batch of completions and before the reactor waits. */
  endTurn(): void {
    if (this.#stopped) return;
    const { log, flusher, payloads, allocator, softTrims, media } = this.#drive;
    if (media.fault !== undefined && !this.#failed) {
      this.#failed = true;
      this.#core.failAll();
    }
    // A failed drive answers what comes and does nothing else.
    if (media.fault === undefined) {
      this.#core.retryLog();
      if (!payloads.running) {
        allocator.settle(log.durableLsn);
        softTrims.settle(log.durableLsn);
      }
      if (this.#core.waitsForSpace && !payloads.running) this.#space();
      log.seal();
      this.#pressure();
      flusher.pump();
    }
    this.#core.tellOver();
    if (this.#waiting.length > 0 && media.activity !== this.#seenActivity) {
      this.#seenActivity = media.activity;
      this.#wake();
    }
  }

  /** Changes wait for freed cells: once those are durable they try again; with none in limbo they hear ENOSPC. */
  #space(): void {
    const { allocator, log, holeReserve, flusher } = this.#drive;
    if (allocator.freeCount > holeReserve || allocator.limboCount === 0) this.#core.onSpace();
    else flusher.require(Math.min(allocator.limboLsn, log.sealedLsn), () => undefined);
  }

  /** Memory or ring running short: apply, flush, checkpoint. */
  #pressure(): void {
    const { log, flusher, payloads, cache, media } = this.#drive;
    // A quarter of the memory: applying starts long before writers would have to wait for it.
    if (log.memoryUsedBlocks * 4 > log.memoryBlocks || this.#core.waitsForLog) {
      payloads.start();
      const undurable = log.memoryBlocksAfter(Math.max(log.durableLsn, flusher.capturedLsn));
      if (
        (undurable * 4 > log.memoryBlocks || this.#core.waitsForLog) &&
        log.settledLsn > log.durableLsn
      ) {
        flusher.require(log.settledLsn, () => undefined);
      }
    }
    const due = Math.min(CHECKPOINT_BLOCKS, Math.floor(media.geometry.layout.logBlocks / 4));
    const crowded = cache.starving || cache.dirtyCount * 2 > cache.frameCount;
    if (log.usedBlocks >= due || crowded) this.#checkpoint();
    else if (!this.#timerArmed && (this.#idleDue || log.dirtyLsn > this.#checkpointedLsn)) {
      this.#timerArmed = true;
      media.io.timer(this.#timers, TIMER_CHECKPOINT, CHECKPOINT_MS);
    }
  }

  #checkpoint(): void {
    const checkpointer = this.#checkpointer;
    if (checkpointer === undefined || this.#stopped) return;
    checkpointer.makeWay();
    if (checkpointer.running) return;
    const { log, media } = this.#drive;
    const covers = log.openLsn;
    checkpointer.run().then(
      () => {
        this.#checkpointedLsn = Math.max(this.#checkpointedLsn, covers - 1);
        media.activity++;
        if (this.#uncompared) this.#mirror(COMPARISONS);
      },
      (error: unknown) => media.stop(`checkpoint failed (${String(error)})`),
    );
    // Where all is durable and applied already, its next step waits for no I/O, only for the runtime.
    this.yieldTurn();
  }

  #onTimer(result: number): void {
    this.#timerArmed = false;
    if (result !== 0 || this.#stopped || this.#drive.media.fault !== undefined) return;
    const { log, media } = this.#drive;
    if (log.dirtyLsn > this.#checkpointedLsn) {
      this.#checkpoint();
      this.#idleDue = true;
      this.#timerArmed = true;
      media.io.timer(this.#timers, TIMER_CHECKPOINT, CHECKPOINT_MS);
    } else if (this.#idleDue) {
      // Nothing changed for a while: make every page's two copies equal.
      this.#mirror(Infinity);
    }
  }

  #mirror(comparisons: number): void {
    const checkpointer = this.#checkpointer;
    const { media } = this.#drive;
    if (checkpointer === undefined || checkpointer.running || this.#stopped) return;
    this.#idleDue = false;
    checkpointer.mirror(comparisons).then(
      (isThrough) => {
        if (isThrough) this.#uncompared = false;
        else this.#idleDue = true;
        media.activity++;
        // A checkpoint may be due that it made way for.
        this.yieldTurn();
      },
      (error: unknown) => media.stop(`mirroring failed (${String(error)})`),
    );
    this.yieldTurn();
  }

  /** Resolves at the end of the next turn in which something completed. Whoever waits has something under way. */
  nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets Promise jobs run before the reactor waits. */
  yieldTurn(): void {
    this.#drive.media.io.yieldTurn();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.yieldTurn();
    for (const resolve of waiting) resolve();
  }

  /** Runs `append`, which resolves with the LSN it appended to, and resolves once that is durable. */
  async durable(append: (whenRoom: () => Promise<void>) => Promise<number>): Promise<void> {
    const { log, ownersLost } = this.#drive;
    // What is logged behind a recovery without its checkpoint is found by nobody.
    if (ownersLost) throw new Fault('DRIVE_NOT_READY', { drive: '', state: 'read-only' });
    const lsn = await append(async () => {
      this.#check();
      await this.nextTurn();
    });
    // What is appended outside a turn is sealed here: the reactor may be about to wait.
    while (!log.seal()) await this.nextTurn();
    await this.whenDurable(lsn);
  }

  /** Resolves once frame `lsn` is durable; rejects when the drive stops. */
  async whenDurable(lsn: number): Promise<void> {
    const { flusher, media } = this.#drive;
    let done = false;
    flusher.require(lsn, () => {
      done = true;
      media.io.yieldTurn();
    });
    while (!done) {
      this.#check();
      await this.nextTurn();
    }
  }

  /** Resolves once everything that was written before is on media; rejects when the drive stops. */
  async flush(): Promise<void> {
    const { flusher, media } = this.#drive;
    this.#check();
    let done = false;
    flusher.barrier(() => {
      done = true;
      media.io.yieldTurn();
    });
    while (!done) {
      await this.nextTurn();
      this.#check();
    }
  }

  #check(): void {
    const { fault } = this.#drive.media;
    if (fault !== undefined) throw new Fault('DRIVE_IO', { drive: '', problem: fault });
  }

  /** Ends the timers; turns no longer do anything. */
  stop(): void {
    this.#stopped = true;
    this.#drive.flusher.close();
    this.#drive.media.io.cancelTimer(this.#timers, TIMER_CHECKPOINT);
    this.#wake();
  }
}
