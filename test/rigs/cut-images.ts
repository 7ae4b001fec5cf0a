/**
 * Builds the image that a drive would have after a power cut: what was written before a completed flush is there; of all
 * else, each 512-byte sector is old or new by chance.
 */

import { closeSync, copyFileSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import type { Prng } from '../../src/lib/prng.ts';
import type { DiskWrite, JournalReader } from './journal-reader.ts';
import { SECTOR_BYTES } from './stamps.ts';

export type Cut = {
  readonly cutNs: number;
  /** Writes not covered by a flush, and how many of their sectors the cut kept. */
  readonly volatileWrites: number;
  readonly keptSectors: number;
  readonly lostSectors: number;
};

/** How much of the drive's cache survives, in percent: nothing, a little, half, nearly all, all. */
const KEEP_PERCENTS = [0, 10, 50, 90, 100] as const;

export class CutImages {
  readonly #journal: JournalReader;
  readonly #random: Prng;
  /** The image of what is certain at the last cut. */
  readonly #certainPath: string;
  readonly #forgetsFlushes: boolean;
  #certainNs = -Infinity;

  /** `certainPath` is made anew: a drive of `sizeBytes` zeros, as its file was before the engine's first write. */
  constructor(
    journal: JournalReader,
    options: {
      readonly random: Prng;
      readonly certainPath: string;
      readonly sizeBytes: number;
      /** For the canary: a drive that answers flushes and keeps nothing of what came after its first one. */
      readonly forgetsFlushes?: boolean;
    },
  ) {
    this.#journal = journal;
    this.#random = options.random;
    this.#certainPath = options.certainPath;
    this.#forgetsFlushes = options.forgetsFlushes ?? false;
    writeFileSync(options.certainPath, '');
    truncateSync(options.certainPath, options.sizeBytes);
  }

  /** Writes the image of a cut at `cutNs` to `path`. Cuts must come in order of time. */
  cut(cutNs: number, path: string): Cut {
    const coveredNs = this.#coveredNs(cutNs);
    this.#makeCertain(coveredNs);
    copyFileSync(this.#certainPath, path);
    const keepPercent = this.#random.pick(KEEP_PERCENTS);
    const fd = openSync(path, 'r+');
    const counts = { volatileWrites: 0, keptSectors: 0, lostSectors: 0 };
    for (const write of this.#journal.writes) {
      if (write.submittedNs > cutNs) break;
      if (write.completedNs <= coveredNs) continue;
      counts.volatileWrites++;
      const bytes = this.#journal.bytes(write);
      for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
        if (this.#random.chance(keepPercent)) {
          writeSync(
            fd,
            bytes,
            at,
            Math.min(SECTOR_BYTES, bytes.length - at),
            write.positionBytes + at,
          );
          counts.keptSectors++;
        } else {
          counts.lostSectors++;
        }
      }
    }
    closeSync(fd);
    return { cutNs, ...counts };
  }

  /** Everything completed before this moment is on media: the latest submission among flushes that completed. */
  #coveredNs(cutNs: number): number {
    let coveredNs = -Infinity;
    for (const flush of this.#journal.flushes) {
      if (this.#forgetsFlushes && coveredNs > -Infinity) break;
      if (flush.completedNs <= cutNs) coveredNs = Math.max(coveredNs, flush.submittedNs);
    }
    return coveredNs;
  }

  #makeCertain(coveredNs: number): void {
    const isNew = (write: DiskWrite): boolean =>
      write.completedNs <= coveredNs && write.completedNs > this.#certainNs;
    const fd = openSync(this.#certainPath, 'r+');
    for (const write of this.#journal.writes) {
      if (isNew(write))
        writeSync(fd, this.#journal.bytes(write), 0, write.lengthBytes, write.positionBytes);
    }
    closeSync(fd);
    this.#certainNs = Math.max(this.#certainNs, coveredNs);
  }
}
