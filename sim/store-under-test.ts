/** What the simulator drives: the drive store, or the reference store that the checkers themselves are tested with. */

import type { Env } from '../src/env/env.ts';
import type { Arena } from '../src/lib/arena.ts';
import type { BlockTarget, OnDone } from '../src/model/block-target.ts';
import type { NewVolume } from '../src/store/drive-store.ts';
import type { ReplicaVolume } from '../src/store/replica-volume.ts';

/** A volume as an open store lists it. */
export type ListedVolume = {
  readonly uuid: string;
  readonly sizeBytes: number;
  /** Births of its snapshots. */
  readonly snapshots: readonly number[];
};

export type OpenStore = {
  createVolume(options: NewVolume): Promise<void>;
  deleteVolume(uuid: string): Promise<void>;
  resizeVolume(uuid: string, sizeBytes: number): Promise<void>;
  snapshot(uuid: string): Promise<number>;
  deleteSnapshot(uuid: string, birth: number): Promise<void>;
  openTarget(uuid: string, onDone: OnDone): BlockTarget;
  /** Of a volume made as a replica. */
  openReplica(uuid: string, onDone: OnDone): ReplicaVolume;
  /** Of the drive; 0 while it has no replica. */
  life(): number;
  openSnapshot(uuid: string, birth: number, onDone: OnDone): BlockTarget;
  listVolumes(): ListedVolume[];
  /** Why it serves only in part until it is opened again, or undefined: by its own word, so the caller must know of a fault. */
  impairment(): string | undefined;
  close(): Promise<void>;
};

export type Geometry = {
  readonly sizeBytes: number;
  readonly logBytes: number;
  readonly cellsPerChunk: number;
  readonly tablePages: number;
};

/** Sizes of the store's memories, for the seeds that make them tiny. */
export type Limits = {
  readonly logMemoryBlocks: number;
  readonly frameBlocksMax: number;
  readonly pageCachePages: number;
  /** Where the allocator starts. */
  readonly firstChunk: number;
  /** Open marks of all replicas before they become coarse. */
  readonly marksMax: number;
};

/** What `drive check` said: the findings that mean damage. */
export type CheckResult = { readonly findings: readonly string[] };

export type StoreUnderTest = {
  readonly name: string;
  readonly hasSnapshots: boolean;
  readonly hasResize: boolean;
  readonly hasReplicas: boolean;
  /** Content lies behind a log of `geometry.logBytes`; otherwise right at the start. */
  readonly hasLog: boolean;
  /** Survives sectors that a power cut left as a mix of old and new bytes. */
  readonly survivesTearing: boolean;
  format(env: Env, options: { readonly path: string; readonly geometry: Geometry }): Promise<void>;
  open(
    env: Env,
    options: { readonly path: string; readonly arena: Arena; readonly limits: Limits },
  ): Promise<OpenStore>;
  /** Offline. */
  check(env: Env, path: string): Promise<CheckResult>;
};
