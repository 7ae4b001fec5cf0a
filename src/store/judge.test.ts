import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IoAsync } from '../env/io-async.ts';
import { ScriptedIo } from '../../sim/scripted-io.ts';
import { DIRECT, FRAME_RECORDS, NO_CELL, PAYLOAD, TRIM, WRITE } from './frame-format.ts';
import { EXTENT_BLOCKS, planLayout, type Layout } from './geometry.ts';
import { judge } from './judge.ts';
import type { Frame } from './log-reader.ts';

const BLOCK = 4096;
const VOLUME = 5;
const planned = planLayout({
  sizeBytes: 4 * 2 ** 20,
  logBytes: 2 ** 20,
  tablePages: 1,
  cellsPerChunk: 8,
  chunkCountMax: 8,
});
assert.ok(planned !== undefined);
const layout: Layout = planned;

type Write = {
  readonly cell?: number;
  readonly first?: number;
  readonly kind?: typeof DIRECT | typeof PAYLOAD;
  readonly birth?: number;
  readonly freedCell?: number;
  /** What each block should hold. */
  readonly fills: readonly number[];
};

/** Frames that were never flushed, one record each, and the bytes that a cut left. */
class Rig {
  readonly #io = new ScriptedIo(layout, 16);
  readonly #scratch = this.#io.arena.reserve(BLOCK, BLOCK);
  readonly #frames: { frame: Frame; words: Uint32Array }[] = [];
  #logBlock = 0;

  /** A WRITE record; returns the ring block of its payload. */
  write(write: Write): number {
    const { cell = 0, first = 0, kind = DIRECT, birth = 1, freedCell = NO_CELL, fills } = write;
    const head = (WRITE | (first << 8) | (fills.length << 16) | (kind << 24)) >>> 0;
    const sums = fills.map((fill, index) => this.#sum(fill, first + index));
    const payloads = kind === PAYLOAD ? fills.length : 0;
    return this.#frame([head, VOLUME, 0, cell, birth, 0, freedCell, ...sums], payloads);
  }

  trim(mask: number): void {
    this.#frame([(TRIM | (mask << 8)) >>> 0, VOLUME, 0, 0, 1, 0, NO_CELL], 0);
  }

  #frame(record: readonly number[], payloads: number): number {
    const words = new Uint32Array(BLOCK / 4);
    words[13] = record.length;
    words.set(record, FRAME_RECORDS);
    const lsn = this.#frames.length + 1;
    const block = this.#logBlock;
    const blocks = 1 + payloads;
    this.#frames.push({
      frame: { block, blocks, lsn, checksum: 0, durableLsn: 0, checkpoint: 1 },
      words,
    });
    this.#logBlock += blocks;
    return block + 1;
  }

  #sum(fill: number, block: number): number {
    this.#io.arena.u8.fill(fill, this.#scratch, this.#scratch + BLOCK);
    return this.#io.media.checksum(this.#scratch, BLOCK, block, VOLUME);
  }

  /** The cut left `fill` in a block of a cell, or in a block of the ring. */
  inCell(cell: number, block: number, fill: number): void {
    const at = (this.#io.media.geometry.cellStart(cell) + block) * BLOCK;
    this.#io.disk.fill(fill, at, at + BLOCK);
  }

  inLog(block: number, fill: number): void {
    const at = (layout.logStart + block) * BLOCK;
    this.#io.disk.fill(fill, at, at + BLOCK);
  }

  /** Void blocks of each frame that has some, by LSN. */
  async voids(): Promise<Record<string, number>> {
    const { disk, arena } = this.#io;
    const ioAsync = {
      read: (_: number, at: number, range: { address: number; lengthBytes: number }) => {
        arena.u8.set(disk.subarray(at, at + range.lengthBytes), range.address);
        return Promise.resolve(range.lengthBytes);
      },
    } as unknown as IoAsync;
    const input = { frames: this.#frames, scratch: this.#scratch };
    const voids = await judge(this.#io.media, ioAsync, input);
    return Object.fromEntries([...voids].map(([key, mask]) => [key.split('/')[0] ?? '', mask]));
  }
}

test('what arrived counts, and of what did not only the blocks that are missing are void', async () => {
  const rig = new Rig();
  rig.write({ first: 2, fills: [1, 2, 3] });
  rig.inCell(0, 2, 1);
  rig.inCell(0, 4, 3);
  assert.deepEqual(await rig.voids(), { 1: 1 << 3 });
});

test('only the last record of a block is judged against its place', async () => {
  const rig = new Rig();
  rig.write({ fills: [1] });
  rig.write({ fills: [2] });
  rig.inCell(0, 0, 2);
  assert.deepEqual(await rig.voids(), {});
});

test('where the last record did not arrive, the one before it is judged', async () => {
  const rig = new Rig();
  rig.write({ fills: [1] });
  rig.write({ fills: [2] });
  rig.inCell(0, 0, 1);
  assert.deepEqual(await rig.voids(), { 2: 1 });
  rig.inCell(0, 0, 3);
  assert.deepEqual(await rig.voids(), { 1: 1, 2: 1 });
});

test('payload is judged where it is, in the log, whatever came later', async () => {
  const rig = new Rig();
  const first = rig.write({ kind: PAYLOAD, fills: [1, 2] });
  const second = rig.write({ kind: PAYLOAD, fills: [3] });
  rig.inLog(first, 1);
  rig.inLog(second, 3);
  assert.deepEqual(await rig.voids(), { 1: 1 << 1 });
  // The later record of this block is good; this one is not, and its place has nothing to do with it.
  rig.inLog(first, 9);
  assert.deepEqual(await rig.voids(), { 1: 0b11 });
});

test('a trim answers for the blocks before it', async () => {
  const rig = new Rig();
  rig.write({ fills: [1, 2] });
  rig.trim(0b01);
  assert.deepEqual(await rig.voids(), { 1: 0b10 });
});

test('a redirect of which one block is missing is void as a whole, and vouches for nothing before it', async () => {
  const rig = new Rig();
  const fills = Array.from({ length: EXTENT_BLOCKS }, (_, index) => index + 1);
  rig.write({ cell: 1, fills: [77] });
  rig.write({ cell: 2, freedCell: 1, fills });
  for (const [block, fill] of fills.entries()) rig.inCell(2, block, fill);
  assert.deepEqual(await rig.voids(), {});
  rig.inCell(2, 9, 0);
  assert.deepEqual(await rig.voids(), { 1: 1, 2: 0xffff });
});

test('what a later birth has says nothing of what a snapshot reads', async () => {
  const rig = new Rig();
  rig.write({ cell: 0, birth: 1, fills: [1] });
  rig.write({ cell: 1, birth: 2, fills: [2] });
  rig.inCell(1, 0, 2);
  assert.deepEqual(await rig.voids(), { 1: 1 });
});

test('the right bytes of another block are the wrong ones', async () => {
  const rig = new Rig();
  rig.write({ first: 0, fills: [1] });
  rig.write({ first: 1, fills: [1] });
  rig.inCell(0, 0, 1);
  assert.deepEqual(await rig.voids(), { 2: 0b10 });
});
