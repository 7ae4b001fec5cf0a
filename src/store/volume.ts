/** A volume as its drive knows it, and its record in the volume table. */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { Refusal } from '../model/errors.ts';
import { EXTENT_BYTES } from './geometry.ts';
import type { Marks } from './marks.ts';
import { getU64, setU64 } from './superblock.ts';

/** 16 TiB: the seed of a block's checksum holds the block's number in 32 bits. */
export const VOLUME_BYTES_MAX: number = 2 ** 32 * BLOCK_BYTES;
const ERA_LIMIT = 1 << 16;

/** live: serves; deleting: its extents are being freed; a deleted one leaves a tombstone (design.md, 3.13). */
export type VolumeState = 'live' | 'deleting';

export type Snapshot = {
  readonly birth: number;
  readonly slot: number;
  state: 'live' | 'deleting';
};

export class Volume {
  /** Names the volume on this drive, in owner entries and checksum seeds; never used again. */
  readonly number: number;
  /** Its record's place in the volume table. */
  readonly slot: number;
  /** 32 hex digits. */
  readonly uuid: string;
  sizeBytes: number;
  epoch: number;
  /** Versions made now get this number; a snapshot takes it and leaves birth + 1. */
  birth: number;
  /** 32 hex digits, or undefined while the volume is not attached. */
  attachId: string | undefined;
  state: VolumeState = 'live';
  /** Of a volume with several replicas, what this one keeps beside its content: see {@link TakenRecord}. */
  seen: Uint8Array | undefined;
  /** And what others may not hold. */
  marks: Marks | undefined;
  /** Oldest first. */
  snapshots: Snapshot[] = [];
  /** Leaf number + 1 for each 512 extents; 0: none. Filled in by ExtentMap. */
  leaves: Int32Array;
  /** Cells that it holds. */
  cellCount = 0;
  #eraBirths: number[] = [];
  #eraEpochs: number[] = [];
  #eraIndex = new Map<number, number>();
  #currentEra = -1;

  constructor(fields: {
    readonly number: number;
    readonly slot: number;
    readonly uuid: string;
    readonly sizeBytes: number;
    readonly epoch: number;
    readonly birth: number;
    readonly attachId: string | undefined;
  }) {
    this.number = fields.number;
    this.slot = fields.slot;
    this.uuid = fields.uuid;
    this.sizeBytes = fields.sizeBytes;
    this.epoch = fields.epoch;
    this.birth = fields.birth;
    this.attachId = fields.attachId;
    this.leaves = new Int32Array(leavesFor(fields.sizeBytes));
  }

  /** Makes room in the map for a larger size; never shrinks it. */
  fitLeaves(sizeBytes: number): void {
    if (leavesFor(sizeBytes) <= this.leaves.length) return;
    const leaves = new Int32Array(leavesFor(sizeBytes));
    leaves.set(this.leaves);
    this.leaves = leaves;
  }

  /** The birth of the newest snapshot, 0 without one. Versions born later are this volume's alone. */
  get newestSnapshot(): number {
    return this.snapshots.at(-1)?.birth ?? 0;
  }

  /** The era that changes made now belong to. */
  get era(): number {
    if (this.#currentEra < 0) this.#currentEra = this.eraOf(this.birth, this.epoch);
    return this.#currentEra;
  }

  /** To be called when birth or epoch changed. */
  eraChanged(): void {
    this.#currentEra = -1;
  }

  /** The 16-bit number of a pair (birth, epoch). */
  eraOf(birth: number, epoch: number): number {
    const key = birth * 2 ** 26 + (epoch % 2 ** 26);
    const known = this.#eraIndex.get(key);
    if (known !== undefined && this.#eraEpochs[known] === epoch) return known;
    const era = this.#eraBirths.length;
    assert(era < ERA_LIMIT, 'at most 65,536 pairs of birth and epoch are in use at once');
    this.#eraBirths.push(birth);
    this.#eraEpochs.push(epoch);
    this.#eraIndex.set(key, era);
    return era;
  }

  /** Takes over the eras of a ghost of the same number, whose map entries name them. */
  adoptEras(ghost: Volume): void {
    this.#eraBirths = ghost.#eraBirths;
    this.#eraEpochs = ghost.#eraEpochs;
    this.#eraIndex = ghost.#eraIndex;
  }

  birthOf(era: number): number {
    return this.#eraBirths[era] ?? 0;
  }

  epochOf(era: number): number {
    return this.#eraEpochs[era] ?? 0;
  }
}

function leavesFor(sizeBytes: number): number {
  return Math.ceil(sizeBytes / EXTENT_BYTES / 512);
}

/**
 * A record of the volume table, 126 words:
 *
 *     0      kind: 0 free, 1 volume, 2 snapshot, 3 tombstone
 *     1      volume number
 *     2..6   uuid
 *     6,7    size in bytes
 *     8      epoch
 *     9      birth: of a volume, the current one; of a snapshot, its own
 *     10     state: 0 live, 1 deleting
 *     11..15 attach id, zero: none
 *     16     of a volume with several replicas, 1 + bytes of what this one keeps (SEEN); 0: it has one
 *     17..   these bytes, then zeros
 */
export type TableRecord = { readonly kind: 'free' } | TakenRecord;

export type TakenRecord = {
  readonly kind: 'volume' | 'snapshot' | 'tombstone';
  readonly number: number;
  readonly uuid: string;
  readonly sizeBytes: number;
  readonly epoch: number;
  readonly birth: number;
  readonly state: 'live' | 'deleting';
  readonly attachId: string | undefined;
  /**
   * What a replica must know of its volume, at most {@link SEEN_BYTES_MAX} that only src/replication understands; empty: nothing yet.
   * Undefined: the volume has one replica.
   */
  readonly seen: Uint8Array | undefined;
};

/** Bytes that a record of the volume table has for its replica. */
export const SEEN_BYTES_MAX: number = (126 - 17) * 4;

const KINDS = ['free', 'volume', 'snapshot', 'tombstone'] as const;

/** Writes a record of the volume table, {@link parseTableRecord}'s inverse. */
export function formatTableRecord(words: Uint32Array, at: number, record: TableRecord): void {
  words.fill(0, at, at + 126);
  if (record.kind === 'free') return;
  words[at] = KINDS.indexOf(record.kind);
  words[at + 1] = record.number;
  words.set(hexWords(record.uuid), at + 2);
  setU64(words, at + 6, record.sizeBytes);
  words[at + 8] = record.epoch;
  words[at + 9] = record.birth;
  words[at + 10] = record.state === 'deleting' ? 1 : 0;
  if (record.attachId !== undefined) words.set(hexWords(record.attachId), at + 11);
  if (record.seen === undefined) return;
  assert(record.seen.length <= SEEN_BYTES_MAX, 'what a replica keeps fits its record');
  words[at + 16] = 1 + record.seen.length;
  bytesOf(words).set(record.seen, (at + 17) * 4);
}

/** Parses a record of the volume table; an unknown kind reads as free. */
export function parseTableRecord(words: Uint32Array, at: number): TableRecord {
  const kind = KINDS[words[at] ?? 0] ?? 'free';
  if (kind === 'free') return { kind };
  const attachId = wordsHex(words.subarray(at + 11, at + 15));
  return {
    kind,
    number: words[at + 1] ?? 0,
    uuid: wordsHex(words.subarray(at + 2, at + 6)),
    sizeBytes: getU64(words, at + 6),
    epoch: words[at + 8] ?? 0,
    birth: words[at + 9] ?? 0,
    state: words[at + 10] === 1 ? 'deleting' : 'live',
    attachId: /^0*$/.test(attachId) ? undefined : attachId,
    seen: seenOf(words, at),
  };
}

function seenOf(words: Uint32Array, at: number): Uint8Array | undefined {
  const length = (words[at + 16] ?? 0) - 1;
  if (length < 0) return undefined;
  const from = (at + 17) * 4;
  return bytesOf(words).slice(from, from + Math.min(length, SEEN_BYTES_MAX));
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** 32 hex digits as four words. */
export function hexWords(hex: string): number[] {
  assert(/^[0-9a-f]{32}$/.test(hex), 'an id on a drive is 32 hex digits');
  return [0, 8, 16, 24].map((at) => Number.parseInt(hex.slice(at, at + 8), 16));
}

/** Words as hexadecimal digits, eight each. */
export function wordsHex(words: Iterable<number>): string {
  return [...words].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** Throws a Refusal SIZE_INVALID where no volume can have this size. */
export function checkVolumeSize(sizeBytes: number): void {
  const problem =
    !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0
      ? 'a volume has at least one block'
      : sizeBytes % 4096 !== 0
        ? 'a volume has whole blocks of 4096 bytes'
        : sizeBytes > VOLUME_BYTES_MAX
          ? 'a volume has at most 16 TiB'
          : undefined;
  if (problem !== undefined) throw new Refusal('SIZE_INVALID', { size: sizeBytes, problem });
}
