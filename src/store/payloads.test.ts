import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import { Prng } from '../lib/prng.ts';
import { ScriptedIo, type ScriptedOperation } from '../../sim/scripted-io.ts';
import { FREE, FREE_WORDS } from './frame-format.ts';
import { planLayout, type Layout } from './geometry.ts';
import { Log } from './log.ts';
import { Payloads } from './payloads.ts';

const BLOCK = 4096;
const FRAME_BLOCKS = 8;
const planned = planLayout({
  sizeBytes: 4 * 2 ** 20,
  logBytes: 2 ** 20,
  tablePages: 1,
  cellsPerChunk: 8,
  chunkCountMax: 8,
});
assert.ok(planned !== undefined);
const layout: Layout = planned;

/** One logged content of a block: its first word on the drive. */
type Content = { readonly id: number; readonly lsn: number; superseded: number; barred: boolean };

/** A log and its payloads, with a plain account of what each block was given. */
class Rig {
  readonly io = new ScriptedIo(layout, 32);
  readonly log: Log;
  readonly payloads: Payloads;
  readonly blocks = new Map<number, Content[]>();
  readonly first = layout.chunkStart + 32;
  readonly #lastApplied = new Map<number, number>();
  #nextId = 1;

  constructor() {
    const nothing = (): void => undefined;
    this.log = new Log(this.io.media, {
      memoryBlocks: 64,
      frameBlocksMax: FRAME_BLOCKS,
      start: { nextLsn: 1, headBlock: 0, chain: 0, saltLow: 1, saltHigh: 2, checkpoint: 1 },
      events: { onWritten: nothing, onSettled: nothing, onRoom: nothing },
    });
    this.payloads = new Payloads(this.io.media, this.log);
  }

  #reserve(payloads: number): boolean {
    if (!this.log.reserve(FREE_WORDS, payloads, false)) return false;
    this.io.arena.u32[this.log.appendRecord(FREE_WORDS)] = FREE;
    return true;
  }

  write(block: number): boolean {
    if (!this.#reserve(1)) return false;
    const slot = this.log.appendPayload();
    const lsn = this.log.openLsn;
    const id = this.#nextId++;
    this.io.arena.u32[this.log.blockAddress(slot) >>> 2] = id;
    this.payloads.add(slot, block, lsn);
    this.#supersede(block, lsn);
    const contents = this.blocks.get(block) ?? [];
    contents.push({ id, lsn, superseded: Infinity, barred: false });
    this.blocks.set(block, contents);
    return true;
  }

  trim(block: number): void {
    if (!this.#reserve(0)) return;
    this.payloads.supersede(block, this.log.openLsn);
    this.#supersede(block, this.log.openLsn);
  }

  #supersede(block: number, lsn: number): void {
    const newest = this.blocks.get(block)?.at(-1);
    if (newest?.superseded === Infinity) newest.superseded = lsn;
  }

  /** What a reader of the block gets: from memory, or from its place. */
  read(block: number): number {
    const slot = this.payloads.find(block);
    if (slot >= 0) return this.io.arena.u32[this.log.blockAddress(slot) >>> 2] ?? 0;
    return new DataView(this.io.disk.buffer).getUint32(block * BLOCK, true);
  }

  isApply(operation: ScriptedOperation): boolean {
    return operation.positionBytes >= layout.chunkStart * BLOCK;
  }

  start(): void {
    const before = this.io.pending.length;
    const idle = !this.payloads.running;
    const durable = this.log.durableLsn;
    this.payloads.start();
    if (!idle) return;
    for (const operation of this.io.pending.slice(before)) {
      for (const content of this.contentsOf(operation)) {
        assert.ok(content.lsn <= durable, 'only what is durable is applied');
        assert.ok(content.superseded > durable, 'what is superseded durably is not applied');
      }
    }
  }

  contentsOf(operation: ScriptedOperation): Content[] {
    const first = operation.positionBytes / BLOCK;
    return operation.segments.map(([address], index) => {
      const id = this.io.arena.u32[address >>> 2] ?? 0;
      const content = this.blocks.get(first + index)?.find((each) => each.id === id);
      assert.ok(content !== undefined, 'a block gets only what was logged for it');
      return content;
    });
  }

  /** Ends an apply. Per block, what reaches the drive is ever newer. */
  end(operation: ScriptedOperation): void {
    const contents = this.isApply(operation) ? this.contentsOf(operation) : [];
    for (const [index, content] of contents.entries()) {
      const block = operation.positionBytes / BLOCK + index;
      assert.ok(content.lsn >= (this.#lastApplied.get(block) ?? 0), 'media order is LSN order');
      assert.ok(!content.barred, 'what cannot be applied is not');
      this.#lastApplied.set(block, content.lsn);
    }
    operation.end();
  }
}

test('readers see the newest content, media get durable content in order, and all memory comes back', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const rig = new Rig();
    const { io, log, payloads } = rig;
    const drawBlock = (): number => rig.first + prng.below(12);
    for (let step = 0; step < 600; step++) {
      const dice = prng.below(100);
      if (dice < 40) rig.write(drawBlock());
      else if (dice < 47) rig.trim(drawBlock());
      else if (dice < 60) log.seal();
      else if (dice < 85 && io.pending.length > 0) rig.end(prng.pick(io.pending));
      else if (dice < 92) log.durableLsn = log.settledLsn;
      else rig.start();
      const block = drawBlock();
      const newest = rig.blocks.get(block)?.at(-1);
      if (newest?.superseded === Infinity) assert.equal(rig.read(block), newest.id, `seed ${seed}`);
      if (!payloads.mayBeApplied(block)) {
        for (const content of rig.blocks.get(block) ?? []) content.barred = true;
      }
      if (log.usedBlocks > 100 && log.seal()) log.releaseTo(log.position());
    }
    for (let round = 0; round < 5; round++) {
      log.seal();
      while (io.pending.length > 0) rig.end(prng.pick(io.pending));
      log.durableLsn = log.settledLsn;
      rig.start();
    }
    assert.equal(payloads.appliedLsn, log.sealedLsn);
    assert.equal(log.memoryUsedBlocks, 0);
    for (const [block, contents] of rig.blocks) {
      assert.equal(payloads.find(block), -1);
      if (contents.at(-1)?.superseded === Infinity)
        assert.equal(rig.read(block), contents.at(-1)?.id);
    }
  }
});

/** A rig with one content of `block` in a durable frame. */
function withDurable(): { rig: Rig; block: number } {
  const rig = new Rig();
  rig.write(rig.first);
  rig.log.seal();
  rig.io.endAll();
  rig.log.durableLsn = 1;
  return { rig, block: rig.first };
}

test('what a frame that is not durable superseded is applied all the same', () => {
  const { rig, block } = withDurable();
  rig.write(block);
  rig.log.seal();
  rig.io.endAll();
  assert.ok(rig.payloads.mayBeApplied(block));
  rig.start();
  assert.deepEqual(
    rig.io.pending.map((each) => rig.contentsOf(each)[0]?.lsn),
    [1],
  );
});

test('what a durable frame superseded is dropped without a write', () => {
  for (const isTrim of [true, false]) {
    const { rig, block } = withDurable();
    if (isTrim) rig.trim(block);
    else rig.write(block);
    rig.log.seal();
    rig.io.endAll();
    rig.log.durableLsn = 2;
    rig.start();
    const lsns = rig.io.pending.map((each) => rig.contentsOf(each)[0]?.lsn);
    assert.deepEqual(lsns, isTrim ? [] : [2]);
    assert.equal(rig.payloads.mayBeApplied(block), !isTrim);
  }
});

test('a trim that becomes durable while its block is being applied leaves it to be applied', () => {
  const { rig, block } = withDurable();
  rig.start();
  rig.trim(block);
  rig.log.seal();
  const [apply, frame] = rig.io.pending;
  assert.ok(apply !== undefined && frame !== undefined);
  frame.end();
  rig.log.durableLsn = 2;
  assert.ok(rig.payloads.mayBeApplied(block), 'its write is under way');
  rig.end(apply);
  assert.ok(!rig.payloads.mayBeApplied(block));
});

test('neighbours are applied by one write', () => {
  const rig = new Rig();
  for (const block of [3, 1, 2, 7]) rig.write(rig.first + block);
  rig.log.seal();
  rig.io.endAll();
  rig.log.durableLsn = 1;
  rig.start();
  assert.deepEqual(
    rig.io.pending.map((each) => [each.positionBytes / BLOCK - rig.first, each.segments.length]),
    [
      [1, 3],
      [7, 1],
    ],
  );
});

test('an apply that fails, or is short, stops the drive', () => {
  for (const result of [-EIO, 512]) {
    const { rig } = withDurable();
    rig.start();
    rig.io.pending[0]?.end(result);
    assert.match(rig.io.media.fault ?? '', /logged content to its place failed/);
    assert.equal(rig.payloads.appliedLsn, 0);
  }
});
