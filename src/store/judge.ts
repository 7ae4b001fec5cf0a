/**
 * What of the frames above the durable LSN counts. After a power cut some of their data may be missing, so each block's *last*
 * record is judged against its bytes; earlier ones were legally overwritten (drive-store.md, H8 and O11). What fails is void:
 * the block keeps its former state. Nothing at or below the durable LSN is judged: a mismatch there is rot and stays visible.
 *
 * Frames are walked backwards. A redirect (a WRITE record that frees a cell) counts whole or not at all: while it is not durable its
 * old cell is untouched, and if it was durable each of its blocks verifies or has a later record that does.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { readExact } from './exact.ts';
import type { IoAsync } from '../env/io-async.ts';
import {
  DIRECT,
  FRAME_RECORDS,
  NO_CELL,
  TRIM,
  WRITE,
  WRITE_WORDS,
  recordWords,
} from './frame-format.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import type { Frame } from './log-reader.ts';
import type { Media } from './media.ts';

/** A WRITE or TRIM record of a frame, taken apart. */
export type ParsedRecord = {
  readonly type: number;
  /** Word index in the frame's block 0. */
  readonly at: number;
  readonly volume: number;
  readonly extent: number;
  readonly cell: number;
  readonly first: number;
  readonly count: number;
  readonly kind: number;
  readonly birth: number;
  readonly epoch: number;
  readonly freedCell: number;
  readonly mask: number;
  /** Ring block of the first payload block. */
  readonly payloadBlock: number;
};

/** The records of a frame, each with the blocks of its payload. */
export function parseRecords(frame: Frame, words: Uint32Array): ParsedRecord[] {
  const records: ParsedRecord[] = [];
  const end = FRAME_RECORDS + (words[13] ?? 0);
  let payloadBlock = frame.block + 1;
  for (let at = FRAME_RECORDS; at < end;) {
    const size = recordWords(words, at);
    if (size === 0) break;
    const head = words[at] ?? 0;
    const type = head & 0xff;
    const u = (index: number): number => words[at + index] ?? 0;
    const first = (head >>> 8) & 0xff;
    const count = (head >>> 16) & 0xff;
    const kind = head >>> 24;
    records.push({
      type,
      at,
      volume: u(1),
      extent: u(2),
      cell: u(3),
      first,
      count,
      kind,
      birth: u(4),
      epoch: u(5),
      freedCell: type === WRITE || type === TRIM ? u(6) : NO_CELL,
      mask: type === TRIM ? (head >>> 8) & 0xffff : ((1 << count) - 1) << first,
      payloadBlock,
    });
    if (type === WRITE && kind !== DIRECT) payloadBlock += count;
    at += size;
  }
  return records;
}

/** Blocks of a record that do not count: a mask, by frame LSN and word index of the record. */
export type Voids = Map<string, number>;

/** Names one record of one frame. */
export function voidKey(lsn: number, record: ParsedRecord): string {
  return `${lsn}/${record.at}`;
}

/** Judges frames, oldest first, with their block 0; `scratch` is one block of arena memory. */
export async function judge(
  media: Media,
  ioAsync: IoAsync,
  input: {
    readonly frames: readonly { readonly frame: Frame; readonly words: Uint32Array }[];
    readonly scratch: number;
  },
): Promise<Voids> {
  const voids: Voids = new Map();
  const later = new Set<string>();
  for (const { frame, words } of input.frames.toReversed()) {
    for (const record of parseRecords(frame, words).toReversed()) {
      if (record.type !== WRITE && record.type !== TRIM) continue;
      await judgeRecord(media, ioAsync, {
        frame,
        words,
        record,
        scratch: input.scratch,
        voids,
        later,
      });
    }
  }
  return voids;
}

async function judgeRecord(
  media: Media,
  ioAsync: IoAsync,
  work: {
    readonly frame: Frame;
    readonly words: Uint32Array;
    readonly record: ParsedRecord;
    readonly scratch: number;
    readonly voids: Voids;
    readonly later: Set<string>;
  },
): Promise<void> {
  const { frame, words, record, later, voids } = work;
  const good: string[] = [];
  let bad = 0;
  for (let block = 0; block < EXTENT_BLOCKS; block++) {
    if (((record.mask >>> block) & 1) === 0) continue;
    // By birth: what a version of a later birth holds says nothing of what a snapshot reads.
    const key = `${record.volume}/${record.extent}/${block}/${record.birth}`;
    if (record.type === TRIM) good.push(key);
    else if (!(later.has(key) && record.kind === DIRECT)) {
      const place = blockPlace(media, record, block);
      await readExact(ioAsync, media.fd, place * BLOCK_BYTES, {
        address: work.scratch,
        lengthBytes: BLOCK_BYTES,
      });
      const seed = record.extent * EXTENT_BLOCKS + block;
      const sum = media.checksum(work.scratch, BLOCK_BYTES, seed, record.volume);
      const expected = (words[record.at + WRITE_WORDS + block - record.first] ?? 0) | 0;
      if (sum === expected) good.push(key);
      else bad |= 1 << block;
    }
  }
  // A redirect is one record, all of it direct.
  if (bad !== 0 && record.freedCell !== NO_CELL) bad = record.mask;
  if (bad !== 0) voids.set(voidKey(frame.lsn, record), bad);
  if (bad !== record.mask) for (const key of good) later.add(key);
}

/** The drive block with the bytes of a WRITE record's block: in its cell, or in the log. */
export function blockPlace(media: Media, record: ParsedRecord, block: number): number {
  return record.kind === DIRECT
    ? media.geometry.cellStart(record.cell) + block
    : media.geometry.layout.logStart + record.payloadBlock + block - record.first;
}
