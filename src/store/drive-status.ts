/** What an open drive says of itself and its volumes. */

export type VolumeStatus = {
  readonly uuid: string;
  readonly number: number;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly epoch: number;
  readonly attachId: string | undefined;
  readonly state: 'live' | 'deleting';
  /** Other drives hold it too: it is served by a head, and not by itself. */
  readonly isReplica: boolean;
  readonly snapshots: readonly number[];
};

export type DriveStatus = {
  readonly path: string;
  /** faulted: takes no more changes; reads still work where the drive answers. read-only: some owners are unknown. */
  readonly state: 'open' | 'read-only' | 'faulted';
  readonly reason: string | undefined;
  readonly uuid: string;
  /** How often it was opened. */
  readonly incarnation: number;
  readonly formatVersion: number;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** Kept for trims over snapshots; neither used nor free. */
  readonly reserveBytes: number;
  readonly recovery: RecoveryReport;
  readonly counters: Readonly<Record<string, number>>;
};

export type RecoveryReport = {
  readonly ms: number;
  readonly replayedFrames: number;
  readonly redoneBlocks: number;
  readonly voidBlocks: number;
  readonly rottenBlocks: number;
};
