import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../model/errno.ts';
import { Prng } from '../lib/prng.ts';
import { IoAsync } from '../env/io-async.ts';
import { ScriptedIo } from '../../sim/scripted-io.ts';
import { FREE, FREE_WORDS } from './frame-format.ts';
import { planLayout, type Layout } from './geometry.ts';
import { LogReader } from './log-reader.ts';
import { FRAMES_IN_FLIGHT_MAX, Log } from './log.ts';
import type { Superblock } from './superblock.ts';

const BLOCK = 4096;
const FRAME_BLOCKS = 8;
const SALT = { saltLow: 0xdeadbeef, saltHigh: 0x0badcafe };
const planned = planLayout({
  sizeBytes: 4 * 2 ** 20,
  // 103 blocks: no multiple of any frame's size.
  logBytes: 103 * BLOCK,
  tablePages: 1,
  cellsPerChunk: 8,
  chunkCountMax: 8,
});
assert.ok(planned !== undefined);
const layout: Layout = planned;

type Rig = {
  readonly io: ScriptedIo;
  readonly log: Log;
  readonly window: number;
  readonly events: { written: number[]; settled: number; room: number };
};

function rigOf(memoryBlocks = 40): Rig {
  const io = new ScriptedIo(layout, 64);
  const events: Rig['events'] = { written: [], settled: 0, room: 0 };
  const log = new Log(io.media, {
    memoryBlocks,
    frameBlocksMax: FRAME_BLOCKS,
    start: { nextLsn: 1, headBlock: 0, chain: 77, ...SALT, checkpoint: 1 },
    events: {
      onWritten: (lsn) => events.written.push(lsn),
      onSettled: () => events.settled++,
      onRoom: () => events.room++,
    },
  });
  const window = io.arena.reserve(256 * BLOCK, BLOCK);
  return { io, log, window, events };
}

/** Appends one change with so many payload blocks to the open frame, each block filled with `fill`. */
function append({ io, log }: Rig, payloads: number, fill: number): boolean {
  if (!log.reserve(FREE_WORDS, payloads, false)) return false;
  const at = log.appendRecord(FREE_WORDS);
  io.arena.u32.set([FREE, fill, payloads, 0], at);
  for (let count = 0; count < payloads; count++) {
    const address = log.blockAddress(log.appendPayload());
    io.arena.u8.fill(fill, address, address + BLOCK);
  }
  return true;
}

/** What the reader finds from this tail on. */
async function scan(
  { io, window }: Rig,
  tail: { readonly lsn: number; readonly block: number; readonly chain: number },
): Promise<Awaited<ReturnType<LogReader['scan']>> & { fills: number[] }> {
  const ioAsync = new IoAsync(io.media.io);
  const reader = new LogReader(io.media, ioAsync, window);
  const superblock = {
    layout,
    n: 9,
    tailLsn: tail.lsn,
    tailBlock: tail.block,
    tailChain: tail.chain,
    marksLsn: 0,
    generation: 0,
    ...SALT,
  } as unknown as Superblock;
  const found = await ended(io, reader.scan(superblock));
  const fills: number[] = [];
  for (const frame of found.frames) {
    fills.push((await ended(io, reader.records(frame)))[17] ?? 0);
  }
  return { ...found, fills };
}

async function ended<T>(io: ScriptedIo, work: Promise<T>): Promise<T> {
  let over = false;
  const done = work.finally(() => (over = true));
  while (!over) {
    io.endAll();
    await Promise.resolve();
  }
  return await done;
}

test('frames of any size go round the ring many times, none wraps, and a reader finds those after the tail', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed);
    const rig = rigOf();
    const { io, log } = rig;
    let tail = log.position();
    let fills: number[] = [];
    for (let frame = 1; frame <= 120; frame++) {
      const fill = 1 + (frame % 250);
      while (!append(rig, prng.below(FRAME_BLOCKS), fill)) {
        tail = log.position();
        fills = [];
        log.releaseTo(tail);
      }
      assert.ok(log.seal());
      const [write] = io.pending;
      assert.ok(write !== undefined);
      const end = (layout.logStart + layout.logBlocks) * BLOCK;
      assert.ok(write.positionBytes >= layout.logStart * BLOCK);
      assert.ok(write.positionBytes + write.lengthBytes <= end, 'a frame does not wrap');
      io.endAll();
      const lsn = log.sealedLsn;
      for (let block = log.payloadOf(lsn)[1]; block > 0; block--) log.release(lsn);
      fills.push(fill);
    }
    const found = await scan(rig, tail);
    assert.deepEqual(found.fills, fills, `seed ${seed}`);
    assert.equal(found.damage, undefined);
    assert.deepEqual(
      found.frames.map(({ lsn }) => lsn),
      fills.map((_, index) => tail.lsn + index),
    );
  }
});

test('frames overwrite none of those between the tail and the head', () => {
  const rig = rigOf();
  const { io, log } = rig;
  const ranges: (readonly [from: number, to: number])[] = [];
  for (let frame = 1; append(rig, FRAME_BLOCKS - 1, frame); frame++) {
    log.seal();
    const { positionBytes, lengthBytes } = io.pending[0] ?? { positionBytes: 0, lengthBytes: 0 };
    for (const [from, to] of ranges) {
      assert.ok(positionBytes >= to || positionBytes + lengthBytes <= from);
    }
    ranges.push([positionBytes, positionBytes + lengthBytes]);
    io.endAll();
    for (let block = 1; block < FRAME_BLOCKS; block++) log.release(log.sealedLsn);
  }
  // The reserve: what is refused to a user is granted to a trim or the table.
  assert.equal(ranges.length, 7);
  assert.ok(!log.reserve(FREE_WORDS, 0, false));
  assert.ok(log.reserve(FREE_WORDS, 0, true));
  log.seal();
  io.endAll();
  log.releaseTo(log.position());
  assert.ok(log.reserve(FREE_WORDS, 0, false));
});

test('written and settled rise only over what has completed before, in whatever order it completes', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const rig = rigOf();
    const { io, log, events } = rig;
    const data = new Map<number, number>();
    const complete = new Set<number>();
    const writes = new Map<object, number>();
    for (let step = 0; step < 200; step++) {
      if (prng.chance(40) && append(rig, 0, 1)) {
        const lsn = log.openLsn;
        const count = prng.below(3);
        // Where it could not be sealed, the open frame gets more.
        data.set(lsn, (data.get(lsn) ?? 0) + count);
        for (let index = 0; index < count; index++) log.addData(BLOCK);
        const before = io.pending.length;
        if (log.seal()) writes.set(io.pending[before] ?? {}, lsn);
        else assert.equal(before, FRAMES_IN_FLIGHT_MAX);
      } else if (prng.chance(50) && io.pending.length > 0) {
        const write = prng.pick(io.pending);
        complete.add(writes.get(write) ?? 0);
        write.end();
      } else {
        const open = [...data].filter(([, count]) => count > 0);
        if (open.length === 0) continue;
        const [lsn, count] = prng.pick(open);
        data.set(lsn, count - 1);
        log.dataDone(lsn);
      }
      // Where a frame could not be sealed its records stay open: it is sealed with the next.
      if (log.openLsn === log.sealedLsn + 1 && io.pending.length < FRAMES_IN_FLIGHT_MAX) {
        const before = io.pending.length;
        log.seal();
        if (io.pending.length > before) writes.set(io.pending[before] ?? {}, log.sealedLsn);
      }
      let written = 0;
      while (complete.has(written + 1)) written++;
      let settled = 0;
      while (settled < written && (data.get(settled + 1) ?? 0) === 0) settled++;
      assert.equal(log.writtenLsn, written, `seed ${seed} step ${step}`);
      assert.equal(log.settledLsn, settled, `seed ${seed} step ${step}`);
      assert.equal(events.written.at(-1) ?? 0, written);
      if (log.usedBlocks > 30 && log.seal()) log.releaseTo(log.position());
    }
  }
});

test('memory of a frame is used again only when its payload is released and its data has completed', () => {
  for (const hasData of [true, false]) {
    const rig = rigOf(2 * FRAME_BLOCKS);
    const { io, log } = rig;
    for (const fill of [1, 2]) {
      assert.ok(append(rig, FRAME_BLOCKS - 1, fill));
      if (fill === 1 && hasData) log.addData(BLOCK);
      assert.ok(log.seal());
    }
    const [first] = log.payloadOf(1);
    assert.ok(!append(rig, 1, 3), 'memory is full');
    io.endAll();
    assert.ok(!append(rig, 1, 3), 'payload waits to be applied');
    assert.equal(io.arena.u8[log.blockAddress(first)], 1);
    for (let block = 1; block < FRAME_BLOCKS; block++) log.release(1);
    if (hasData) {
      assert.ok(!append(rig, 1, 3), 'its data is under way');
      log.dataDone(1);
    }
    assert.ok(append(rig, 1, 3));
    // The frame that is kept still has what it had.
    const [second, count] = log.payloadOf(2);
    for (let block = second; block < second + count; block++) {
      assert.equal(io.arena.u8[log.blockAddress(block)], 2);
    }
  }
});

test('a write that the drive takes in pieces goes on, and one that fails stops the drive', async () => {
  const rig = rigOf();
  const { io, log } = rig;
  const tail = log.position();
  append(rig, 3, 5);
  log.seal();
  io.pending[0]?.end(BLOCK + 512);
  assert.equal(log.writtenLsn, 0);
  assert.equal(io.pending[0]?.lengthBytes, 4 * BLOCK - BLOCK - 512);
  io.endAll();
  assert.equal(log.writtenLsn, 1);
  assert.deepEqual((await scan(rig, tail)).fills, [5]);
  append(rig, 0, 6);
  log.seal();
  io.pending[0]?.end(-EIO);
  assert.match(io.media.fault ?? '', /write to the log failed \(-5\)/);
  assert.equal(log.writtenLsn, 1);
});

test('a mark says what is durable, once', async () => {
  const rig = rigOf();
  const { io, log } = rig;
  const tail = log.position();
  append(rig, 1, 1);
  log.mark();
  assert.equal(io.pending.length, 0, 'nothing is durable that the log does not say');
  log.seal();
  log.durableLsn = 1;
  log.mark();
  assert.equal(io.pending.length, 1, 'not while a frame is under way, which could say it');
  io.endAll();
  log.mark();
  io.endAll();
  log.mark();
  io.endAll();
  const found = await scan(rig, tail);
  assert.deepEqual([found.frames.length, found.durableLsn], [2, 1]);
  assert.equal(log.dirtyLsn, 1, 'a mark changes nothing');
});

test('the end of a log is a torn frame, or one that does not follow; a later word that it was durable makes it a hole', async () => {
  const rig = rigOf();
  const { io, log } = rig;
  const tail = log.position();
  const starts: number[] = [];
  for (const fill of [1, 2, 3]) {
    append(rig, 1, fill);
    log.seal();
    starts.push(io.pending[0]?.positionBytes ?? 0);
    io.endAll();
  }
  const whole = io.disk.slice();
  const [, second = 0] = starts;
  for (let word = 0; word < 20; word++) {
    io.disk.set(whole);
    io.disk[second + word * 4] = (io.disk[second + word * 4] ?? 0) ^ 1;
    const found = await scan(rig, tail);
    assert.deepEqual([found.fills, found.damage], [[1], undefined], `word ${word}`);
  }
  io.disk.set(whole);
  log.durableLsn = 2;
  log.mark();
  io.endAll();
  io.disk[second + 100] = (io.disk[second + 100] ?? 0) ^ 1;
  const found = await scan(rig, tail);
  assert.deepEqual([found.fills, found.damage?.kind], [[1], 'hole']);
});

test('a frame that followed another one is not taken for the next', async () => {
  const [rig, other] = [rigOf(), rigOf()];
  const tail = rig.log.position();
  for (const [{ io, log }, fills] of [
    [rig, [1, 2]],
    [other, [7]],
  ] as const) {
    for (const fill of fills) {
      append({ ...rig, io, log }, 1, fill);
      log.seal();
      io.endAll();
    }
  }
  // Frame 2 is as good as ever, and its LSN and salt are those of the next: but it was written after another frame 1.
  const from = layout.logStart * BLOCK;
  rig.io.disk.set(other.io.disk.subarray(from, from + 2 * BLOCK), from);
  assert.deepEqual((await scan(rig, tail)).fills, [7]);
});
