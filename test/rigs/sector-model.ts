/**
 * What a volume must hold after SIGKILL: per sector the last acknowledged version or one still unanswered. The checker
 * is apart from the code it checks and knows nothing of blocks, logs or flushes.
 */

import { type SectorRange, SECTOR_BYTES, versionOf } from './stamps.ts';

export type Mismatch = {
  readonly sector: number;
  /** The versions that would have been right. */
  readonly legal: readonly number[];
  /** The version found; -1 for bytes that were never written here. */
  readonly found: number;
};

/** Reported mismatches of one read: the first ones tell the story. */
const MISMATCH_COUNT_MAX = 16;
const NONE = 0xffffffff;

export class SectorModel {
  readonly run: number;
  readonly sectorCount: number;
  readonly #acknowledged: Uint32Array;
  readonly #unanswered: Uint32Array;
  /** Sectors of requests under way, reads included: overlapping requests have no defined order, so none are made. */
  readonly #busy: Uint8Array;

  constructor(options: { readonly run: number; readonly sectorCount: number }) {
    this.run = options.run;
    this.sectorCount = options.sectorCount;
    this.#acknowledged = new Uint32Array(options.sectorCount);
    this.#unanswered = new Uint32Array(options.sectorCount).fill(NONE);
    this.#busy = new Uint8Array(options.sectorCount);
  }

  /** Takes the range for one request, or returns false if another has a part of it. */
  tryClaim(range: SectorRange): boolean {
    const end = range.firstSector + range.sectorCount;
    if (this.#busy.subarray(range.firstSector, end).includes(1)) return false;
    this.#busy.fill(1, range.firstSector, end);
    return true;
  }

  release(range: SectorRange): void {
    this.#busy.fill(0, range.firstSector, range.firstSector + range.sectorCount);
  }

  /** A change to `version` (0: zeros) is about to be sent; the range is claimed. */
  sent(range: SectorRange, version: number): void {
    this.#unanswered.fill(version, range.firstSector, range.firstSector + range.sectorCount);
  }

  acknowledged(range: SectorRange, version: number): void {
    const end = range.firstSector + range.sectorCount;
    this.#acknowledged.fill(version, range.firstSector, end);
    this.#unanswered.fill(NONE, range.firstSector, end);
  }

  /** The acknowledged versions of a range, as they are now. */
  versions({ firstSector, sectorCount }: SectorRange): Uint32Array {
    return this.#acknowledged.slice(firstSector, firstSector + sectorCount);
  }

  /** The sectors of a read that hold less than `before`, which was acknowledged when it was sent. Zeros have no age. */
  older(firstSector: number, bytes: Buffer, before: Uint32Array): Mismatch[] {
    const found: Mismatch[] = [];
    for (const [index, least] of before.entries()) {
      const sector = firstSector + index;
      const version = versionOf(bytes, index * SECTOR_BYTES, { run: this.run, sector });
      if (version !== 0 && version < least) found.push({ sector, legal: [least], found: version });
    }
    return found.slice(0, MISMATCH_COUNT_MAX);
  }

  /** Compares bytes read from `firstSector` on. Unanswered changes may show or not, sector by sector. */
  mismatches(firstSector: number, bytes: Buffer): Mismatch[] {
    const found: Mismatch[] = [];
    for (let index = 0; index * SECTOR_BYTES < bytes.length; index++) {
      const sector = firstSector + index;
      const version = versionOf(bytes, index * SECTOR_BYTES, { run: this.run, sector });
      const acknowledged = this.#acknowledged[sector];
      const unanswered = this.#unanswered[sector];
      if (version === acknowledged || (version === unanswered && unanswered !== NONE)) continue;
      const legal = [acknowledged ?? NONE, unanswered ?? NONE].filter((each) => each !== NONE);
      found.push({ sector, legal, found: version });
      if (found.length === MISMATCH_COUNT_MAX) break;
    }
    return found;
  }
}
