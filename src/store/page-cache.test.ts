import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScriptedIo } from '../../sim/scripted-io.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { EIO } from '../model/errno.ts';
import { Fault } from '../model/errors.ts';
import { Directory } from './directory.ts';
import { planLayout } from './geometry.ts';
import { PageCache } from './page-cache.ts';
import { PAGE_MAGIC, sealPage } from './page-format.ts';
import { PageLoader } from './page-loader.ts';

const PAGE = 3;
const layout = planLayout({
  sizeBytes: 4 * 2 ** 20,
  logBytes: 2 ** 20,
  tablePages: 1,
  cellsPerChunk: 8,
  chunkCountMax: 8,
});
assert.ok(layout !== undefined);

/** A cache whose waiter 0 notes what it finds when it is woken; other waiters are the loader's. Page 3 is in copy 0. */
class Rig {
  readonly io = new ScriptedIo(layout ?? assert.fail(), 32);
  readonly loader = new PageLoader(this.io.media, 1);
  readonly directory = new Directory(this.io.media.geometry.pageCount, 1);
  readonly heard: (string | number)[] = [];
  readonly cache = new PageCache(this.io.media, this.directory, {
    frameCount: 4,
    waiterCount: 1 + PageLoader.waiterCount,
    onReady: (waiter) => {
      if (waiter > 0) this.loader.onReady(waiter);
      else this.heard.push(this.cache.find(PAGE));
    },
  });

  constructor(good: readonly number[]) {
    this.loader.start(this.cache);
    this.directory.wrote(PAGE, 1, 0);
    const { media, arena, disk } = this.io;
    const page = arena.reserve(BLOCK_BYTES, BLOCK_BYTES);
    sealPage(media, page, { magic: PAGE_MAGIC, page: PAGE, generation: 1, lsn: 1 });
    for (const copy of good) {
      const at = media.geometry.pageBlock(PAGE, copy) * BLOCK_BYTES;
      disk.set(arena.u8.subarray(page, page + BLOCK_BYTES), at);
    }
  }

  /** Looks for the page, waits, and ends each read that this leads to with the result given, or well. Says of which copy each was. */
  wait(results: readonly (number | undefined)[]): number[] {
    assert.equal(this.cache.find(PAGE), 'missing');
    this.cache.wait(PAGE, 0);
    return this.end(results);
  }

  end(results: readonly (number | undefined)[]): number[] {
    const copies: number[] = [];
    for (const result of results) {
      const [read] = this.io.pending;
      assert.ok(read !== undefined, 'a read is under way');
      const block = read.positionBytes / BLOCK_BYTES;
      copies.push(block === this.io.media.geometry.pageBlock(PAGE, 0) ? 0 : 1);
      read.end(result);
    }
    assert.equal(this.io.pending.length, 0, 'no read more than expected');
    return copies;
  }
}

test('a page whose one copy is rotten comes from the other, even where that is read at the second try only', () => {
  for (const [results, copies] of [
    [
      [undefined, undefined],
      [0, 1],
    ],
    [
      [undefined, -EIO, undefined, undefined],
      [0, 1, 0, 1],
    ],
  ] as const) {
    const rig = new Rig([1]);
    assert.deepEqual(rig.wait(results), copies);
    assert.deepEqual(rig.heard.map(Number.isFinite), [true]);
    assert.equal(rig.directory.copy(PAGE), 1);
  }
});

test('a page that is rotten in both copies stays known as such and is not read again', () => {
  const rig = new Rig([]);
  rig.wait([undefined, undefined]);
  assert.deepEqual(rig.heard, ['rotten']);
  assert.equal(rig.cache.find(PAGE), 'rotten');
  assert.equal(rig.io.pending.length, 0);
  assert.equal(rig.io.media.counters.checksumErrors, 1);
});

test('a drive that gave errors is asked again by the next who looks, not by those who waited', async () => {
  const rig = new Rig([0, 1]);
  const awaited = rig.loader.load(PAGE);
  const refused = assert.rejects(
    awaited,
    (error) => error instanceof Fault && error.code === 'DRIVE_CORRUPT',
  );
  rig.wait([-EIO, -EIO, -EIO, 512]);
  await refused;
  assert.deepEqual(rig.heard, ['rotten']);
  assert.equal(rig.io.pending.length, 0);
  assert.equal(rig.io.media.counters.checksumErrors, 0);
  rig.wait([undefined]);
  assert.deepEqual(rig.heard.slice(1).map(Number.isFinite), [true]);
});
