/**
 * What a volume may hold after a power cut at any moment of a run: per sector the last version known flushed, or any
 * version sent since. Times are the machine's monotonic clock, which the engine's journal uses too.
 */

import { type SectorRange, SECTOR_BYTES, versionOf } from './stamps.ts';
import type { Mismatch } from './sector-model.ts';

type Change = {
  readonly version: number;
  readonly sentNs: number;
  acknowledgedNs: number;
  durable: boolean;
};
type Flush = { readonly sentNs: number; acknowledgedNs: number };

/** Reported mismatches of one cut. */
const MISMATCH_COUNT_MAX = 16;

export class ChangeHistory {
  readonly run: number;
  readonly #now: () => number;
  readonly #changes = new Map<number, Change[]>();
  readonly #flushes: Flush[] = [];

  /** `now`: nanoseconds of a clock shared with the engine. */
  constructor(run: number, now: () => number = monotonicNs) {
    this.run = run;
    this.#now = now;
  }

  changeSent(
    range: SectorRange,
    version: number,
  ): { acknowledged(options: { readonly durable: boolean }): void } {
    const change = { version, sentNs: this.#now(), acknowledgedNs: Infinity, durable: false };
    for (let index = 0; index < range.sectorCount; index++) {
      const sector = range.firstSector + index;
      const list = this.#changes.get(sector);
      if (list === undefined) this.#changes.set(sector, [change]);
      else list.push(change);
    }
    return {
      acknowledged: ({ durable }) => {
        change.acknowledgedNs = this.#now();
        change.durable = durable;
      },
    };
  }

  flushSent(): { acknowledged(): void } {
    const flush = { sentNs: this.#now(), acknowledgedNs: Infinity };
    this.#flushes.push(flush);
    return {
      acknowledged: () => {
        flush.acknowledgedNs = this.#now();
      },
    };
  }

  /** Flushes acknowledged before `cutNs`: a cut before the first of them proves little. */
  flushCountAt(cutNs: number): number {
    return this.#flushes.filter((flush) => flush.acknowledgedNs <= cutNs).length;
  }

  /** The versions that `sector` may hold after a cut at `cutNs`. */
  legalVersions(sector: number, cutNs: number): number[] {
    return this.#legal(sector, cutNs, this.#coveredNs(cutNs));
  }

  /** Compares bytes of the volume after a cut at `cutNs` with what is legal. */
  mismatches(firstSector: number, bytes: Buffer, cutNs: number): Mismatch[] {
    const coveredNs = this.#coveredNs(cutNs);
    const found: Mismatch[] = [];
    for (let index = 0; index * SECTOR_BYTES < bytes.length; index++) {
      const sector = firstSector + index;
      const version = versionOf(bytes, index * SECTOR_BYTES, { run: this.run, sector });
      const legal = this.#legal(sector, cutNs, coveredNs);
      if (!legal.includes(version)) found.push({ sector, legal, found: version });
      if (found.length === MISMATCH_COUNT_MAX) break;
    }
    return found;
  }

  /** Everything acknowledged before this moment is on media at the cut: the latest sending among flushes that returned. */
  #coveredNs(cutNs: number): number {
    let coveredNs = -Infinity;
    for (const flush of this.#flushes) {
      if (flush.acknowledgedNs <= cutNs) coveredNs = Math.max(coveredNs, flush.sentNs);
    }
    return coveredNs;
  }

  #legal(sector: number, cutNs: number, coveredNs: number): number[] {
    // Version 0, zeros: nothing was ever written here.
    let legal = [0];
    for (const change of this.#changes.get(sector) ?? []) {
      if (change.sentNs > cutNs) break;
      const flushed =
        change.acknowledgedNs <= coveredNs || (change.durable && change.acknowledgedNs <= cutNs);
      if (flushed) legal = [change.version];
      else legal.push(change.version);
    }
    return legal;
  }
}

export function monotonicNs(): number {
  // Exact below 2^53 ns, 104 days of uptime; beyond that to a few ns, which is still finer than any order looked at here.
  return Number(process.hrtime.bigint());
}
