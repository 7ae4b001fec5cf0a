/** The bad blocks that one drive gave since it was opened, by volume: for its status. The log has each of them. */

import type { BadBlock } from '../store/media.ts';
import type { JsonObject } from '../wire/line-protocol.ts';

/** Volumes of one drive that are told apart: with 150 bytes each, those of 16 drives fit an answer. What comes beyond is counted together. */
const VOLUMES_MAX = 16;
const OTHERS = 'others';
const METADATA = 'metadata';

type Counts = { checksumErrors: number; readErrors: number; offsetBytes: number };

export class BadBlocks {
  readonly #byVolume = new Map<string, Counts>();

  add({ kind, volume = METADATA, offsetBytes }: BadBlock): void {
    const isKnown = this.#byVolume.has(volume) || this.#byVolume.size < VOLUMES_MAX;
    const key = isKnown ? volume : OTHERS;
    const counts = this.#byVolume.get(key) ?? { checksumErrors: 0, readErrors: 0, offsetBytes };
    if (kind === 'checksum') counts.checksumErrors += 1;
    else counts.readErrors += 1;
    counts.offsetBytes = offsetBytes;
    this.#byVolume.set(key, counts);
  }

  /** `of`: a volume's uuid, metadata or others; `offsetBytes`: of the last one, in the volume or on the drive. */
  list(): JsonObject[] {
    return [...this.#byVolume].map(([of, counts]) => ({ of, ...counts }));
  }
}
