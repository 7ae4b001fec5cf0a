/** The parts of one open drive, as its state machines share them. */

import type { Allocator } from './allocator.ts';
import type { Directory } from './directory.ts';
import type { ExtentMap } from './extent-map.ts';
import type { Flusher } from './flusher.ts';
import type { Log } from './log.ts';
import type { MarkBook } from './marks.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';
import type { Payloads } from './payloads.ts';
import type { SoftTrims } from './soft-trims.ts';

export type DriveState = {
  readonly media: Media;
  readonly directory: Directory;
  readonly cache: PageCache;
  readonly map: ExtentMap;
  readonly allocator: Allocator;
  readonly log: Log;
  readonly flusher: Flusher;
  readonly payloads: Payloads;
  readonly softTrims: SoftTrims;
  readonly marks: MarkBook;
  /**
   * Both copies of an owner page are rotten: some extents are unknown, so what seems never written may have content. Such reads
   * end in EIO and the drive takes no changes.
   */
  readonly ownersLost: boolean;
  /** Arena address of 64 KiB of zeros that are never written to. */
  readonly zeroExtent: number;
  /** Cells kept for trims over snapshots on a full drive. */
  readonly holeReserve: number;
};
