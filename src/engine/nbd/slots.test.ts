import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES, REQUEST_BYTES_MAX } from '../../model/block-target.ts';
import { Prng } from '../../lib/prng.ts';
import { MemoryUses } from '../memory-uses.ts';
import { NONE, SMALL_DATA_BYTES, SlotPool, slotPoolBytes } from './slots.ts';

const CONNECTION_COUNT = 40;

function newPool() {
  const pages = Math.ceil((slotPoolBytes(CONNECTION_COUNT) + 4096) / 65_536);
  const arena = new Arena(new WebAssembly.Memory({ initial: pages, maximum: pages }));
  const memory = new MemoryUses(arena.memory);
  return { pool: new SlotPool(arena, CONNECTION_COUNT, memory), arena, memory };
}

/** Takes data slots until there is none. */
function takeAll(pool: SlotPool, connection: number, dataBytes: number): number[] {
  const taken: number[] = [];
  for (;;) {
    const slot = pool.takeData(connection, dataBytes);
    if (slot === NONE) return taken;
    taken.push(slot);
  }
}

test('SlotPool: memory of all slots is disjoint, aligned and has room before it', () => {
  const { pool, arena } = newPool();
  const ranges: [number, number][] = [];
  for (let slot = 0; slot < pool.count; slot += 1) {
    const head = pool.headAddress[slot]!;
    if (pool.dataBytes[slot] === 0) ranges.push([head, head + 128]);
    else {
      const data = pool.dataAddress[slot]!;
      assert.equal(data % BLOCK_BYTES, 0);
      assert.equal(head, data - 128);
      ranges.push([head, data + pool.dataBytes[slot]!]);
    }
  }
  ranges.sort((a, b) => a[0] - b[0]);
  for (let index = 1; index < ranges.length; index += 1) {
    assert.ok(ranges[index]![0] >= ranges[index - 1]![1]);
  }
  assert.ok(ranges.at(-1)![1] <= arena.sizeBytes + 4096);
});

test('SlotPool: a greedy connection gets half, the next ones fair shares, and each has its own', () => {
  const { pool } = newPool();
  const shares = [0, 1, 2].map((connection) => takeAll(pool, connection, REQUEST_BYTES_MAX).length);
  assert.deepEqual(shares, [16, 8, 4]);
  for (let connection = 3; connection < CONNECTION_COUNT; connection += 1) {
    const taken = takeAll(pool, connection, REQUEST_BYTES_MAX);
    assert.ok(taken.length >= 1, `connection ${connection} gets a slot`);
  }
  // The last ones have only a small slot of their own, of which they get one.
  const last = CONNECTION_COUNT - 1;
  assert.equal(pool.heldBy(last), 1);
  assert.equal(pool.takeData(last, 1) === NONE, false, 'the small class is not exhausted');
});

test('SlotPool: the own data slot comes only while the connection holds no data at all', () => {
  const { pool } = newPool();
  for (let connection = 0; connection < CONNECTION_COUNT; connection += 1) {
    takeAll(pool, connection, REQUEST_BYTES_MAX);
  }
  const connection = CONNECTION_COUNT - 1;
  assert.equal(pool.takeData(connection, REQUEST_BYTES_MAX), NONE);
});

test('SlotPool: small requests take small slots, and larger ones when these run out', () => {
  const { pool } = newPool();
  const first = pool.takeData(0, 1);
  assert.equal(pool.dataBytes[first], SMALL_DATA_BYTES);
  assert.ok(pool.dataBytes[pool.takeData(0, SMALL_DATA_BYTES + 1)]! > SMALL_DATA_BYTES);
  const all = takeAll(pool, 0, 1);
  assert.ok(all.some((slot) => pool.dataBytes[slot]! > SMALL_DATA_BYTES));
});

test('SlotPool: any sequence of taking and giving back keeps the books', () => {
  const { pool } = newPool();
  const prng = new Prng(7);
  const held: number[][] = Array.from({ length: CONNECTION_COUNT }, () => []);
  const owner = new Map<number, number>();
  for (let step = 0; step < 50_000; step += 1) {
    const connection = prng.below(CONNECTION_COUNT);
    const mine = held[connection]!;
    if (prng.chance(55)) {
      const slot = prng.chance(30)
        ? pool.takeHeader(connection)
        : pool.takeData(connection, 1 + prng.below(REQUEST_BYTES_MAX));
      if (slot === NONE) continue;
      assert.equal(owner.has(slot), false, 'a slot has one owner');
      assert.equal(pool.connection[slot], connection);
      owner.set(slot, connection);
      mine.push(slot);
    } else if (mine.length > 0) {
      const [slot] = mine.splice(prng.below(mine.length), 1);
      owner.delete(slot!);
      pool.release(slot!);
    }
    assert.equal(pool.heldBy(connection), mine.length);
  }
  for (const slot of owner.keys()) pool.release(slot);
  assert.equal(takeAll(pool, 0, REQUEST_BYTES_MAX).length, 16, 'all came back');
});

test('SlotPool: giving a slot back twice is a bug', () => {
  const { pool } = newPool();
  const slot = pool.takeHeader(0);
  pool.release(slot);
  assert.throws(() => pool.release(slot), /given back/);
});

test('SlotPool: a slot whose memory is still used is given back, and free only after that', () => {
  const { pool, memory } = newPool();
  let isTold = false;
  pool.onFree = () => (isTold = true);
  const slot = pool.takeData(0, 1);
  const address = pool.dataAddress[slot]!;
  memory.use(address);
  pool.release(slot);
  assert.equal(pool.heldBy(0), 0);
  const others = takeAll(pool, 1, 1);
  assert.ok(!others.includes(slot));
  assert.ok(!isTold);
  memory.release(address);
  assert.ok(isTold);
  assert.equal(pool.takeData(2, 1), slot);
});

test('SlotPool: a slot gets other memory, and what it had is free when nobody uses it any more', () => {
  const { pool, memory } = newPool();
  const slot = pool.takeData(0, 1);
  const before = pool.dataAddress[slot]!;
  memory.use(before);
  const after = pool.renew(slot);
  assert.notEqual(after, before);
  assert.equal(pool.dataAddress[slot], after);
  assert.equal(pool.headAddress[slot], after - 128);
  const others = takeAll(pool, 1, 1).map((each) => pool.dataAddress[each]!);
  assert.ok(!others.includes(before));
  assert.ok(!others.includes(after));
  memory.release(before);
  assert.equal(pool.dataAddress[pool.takeData(2, 1)], before);
});
