import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CELLS_PER_CHUNK,
  EXTENT_BLOCKS,
  Geometry,
  OWNERS_PER_PAGE,
  growLayout,
  planLayout,
  type Layout,
} from './geometry.ts';

const TIB = 2 ** 40;

function plan(options: Parameters<typeof planLayout>[0]): Layout {
  const layout = planLayout(options);
  assert.ok(layout !== undefined);
  return layout;
}

/** Claims blocks [from, from + count) for `what`; fails where they lie outside the drive or are another's. */
class Claims {
  readonly #owners: (string | undefined)[];

  constructor(sizeBytes: number) {
    this.#owners = Array.from({ length: sizeBytes / 4096 }, () => undefined);
  }

  claim(what: string, from: number, count: number): void {
    for (let block = from; block < from + count; block++) {
      assert.ok(block >= 0 && block < this.#owners.length, `${what} lies outside the drive`);
      assert.equal(this.#owners[block], undefined, `${what} lies on ${this.#owners[block]}`);
      this.#owners[block] = what;
    }
  }
}

function claimAll(layout: Layout): void {
  const geometry = new Geometry(layout);
  const claims = new Claims(layout.sizeBytes);
  for (const n of [1, 2]) {
    for (const block of geometry.superblockBlocks(n)) claims.claim(`superblock ${n}`, block, 1);
  }
  claims.claim('log', layout.logStart, layout.logBlocks);
  for (const copy of [0, 1]) {
    for (let page = 0; page < layout.directoryPages; page++) {
      claims.claim(`directory ${page}/${copy}`, geometry.directoryBlock(page, copy), 1);
    }
    for (let page = 0; page < geometry.pageCount; page++) {
      claims.claim(`page ${page}/${copy}`, geometry.pageBlock(page, copy), 1);
    }
  }
  for (let cell = 0; cell < geometry.cellCount; cell++) {
    claims.claim(`cell ${cell}`, geometry.cellStart(cell), EXTENT_BLOCKS);
  }
}

test('every superblock, page copy, log block and cell is a place of its own inside the drive', () => {
  claimAll(plan({ sizeBytes: 512 * 2 ** 20 }));
  claimAll(
    plan({
      sizeBytes: 40 * 2 ** 20 + 5000,
      logBytes: 2 ** 20,
      cellsPerChunk: 200,
      chunkCountMax: 9,
    }),
  );
  claimAll(
    plan({
      sizeBytes: 8 * 2 ** 20,
      logBytes: 2 ** 20,
      tablePages: 3,
      cellsPerChunk: 1,
      chunkCountMax: 50,
    }),
  );
});

test('a grown drive keeps every place and adds chunks, as many as its directory has room for', () => {
  const layout = plan({
    sizeBytes: 16 * 2 ** 20,
    logBytes: 2 ** 20,
    tablePages: 8,
    cellsPerChunk: 64,
    chunkCountMax: 6,
  });
  const grown = growLayout(layout, 24 * 2 ** 20);
  assert.ok(grown.chunkCount > layout.chunkCount);
  claimAll(grown);
  const [before, after] = [new Geometry(layout), new Geometry(grown)];
  for (let cell = 0; cell < before.cellCount; cell++) {
    assert.equal(after.cellStart(cell), before.cellStart(cell));
    assert.equal(after.ownerPage(cell), before.ownerPage(cell));
  }
  const room = Math.floor((layout.directoryPages * 1008 - 8) / before.pagesPerChunk);
  assert.equal(growLayout(layout, 2 ** 40).chunkCount, room);
});

test('each cell has one owner entry and 16 checksums of its own', () => {
  const geometry = new Geometry(plan({ sizeBytes: 512 * 2 ** 20 }));
  const owners = new Set<string>();
  const checksums = new Set<string>();
  for (let cell = 0; cell < geometry.cellCount; cell++) {
    const [page, index] = [geometry.ownerPage(cell), geometry.ownerIndex(cell)];
    assert.ok(index < OWNERS_PER_PAGE);
    assert.equal(geometry.firstCellOfOwnerPage(page) + index, cell);
    owners.add(`${page}/${index}`);
    const [sums, first] = [geometry.checksumPage(cell), geometry.checksumIndex(cell)];
    assert.ok(first + EXTENT_BLOCKS <= 1008 && first % EXTENT_BLOCKS === 0);
    assert.equal(geometry.firstCellOfOwnerPage(sums), -1);
    checksums.add(`${sums}/${first}`);
  }
  assert.equal(owners.size, geometry.cellCount);
  assert.equal(checksums.size, geometry.cellCount);
});

test('places stay exact beyond 2^31 and 2^32 blocks, up to the last cell of 64 TiB', () => {
  const layout = plan({ sizeBytes: 64 * TIB });
  const geometry = new Geometry(layout);
  const last = geometry.cellCount - 1;
  // The metadata of 64 TiB leaves less than the 2^30 cells that a number has room for.
  assert.ok(last > 2 ** 30 * 0.98 && last < 2 ** 30);
  for (const cell of [0, 1, CELLS_PER_CHUNK, 2 ** 27, 2 ** 28 + 12_345, last - 1, last]) {
    const chunk = BigInt(Math.floor(cell / CELLS_PER_CHUNK));
    const within = BigInt(cell % CELLS_PER_CHUNK);
    const chunkBlocks = BigInt(48 + CELLS_PER_CHUNK * EXTENT_BLOCKS);
    const wanted = BigInt(layout.chunkStart) + chunk * chunkBlocks + 48n + within * 16n;
    assert.equal(BigInt(geometry.cellStart(cell)), wanted);
    assert.equal(BigInt(geometry.cellStart(cell) * 4096), wanted * 4096n);
  }
  assert.ok(geometry.cellStart(last) > 2 ** 33);
  const mirror = geometry.superblockBlocks(1)[1];
  assert.ok(geometry.cellStart(last) + EXTENT_BLOCKS <= mirror - 1);
});

test('a drive without room for a chunk has no layout', () => {
  assert.equal(planLayout({ sizeBytes: 64 * 2 ** 20 }), undefined);
  assert.equal(planLayout({ sizeBytes: 0 }), undefined);
});
