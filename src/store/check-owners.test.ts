import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allocator } from './allocator.ts';
import { checkOwners } from './check-owners.ts';
import { Findings } from './check-report.ts';
import { ExtentMap } from './extent-map.ts';
import { EXTENT_BYTES } from './geometry.ts';
import type { VolumeTable } from './volume-table.ts';
import { Volume } from './volume.ts';

const ALL = 0xffff;

/** A sound state of two volumes with two extents each, for a test to break. */
class State {
  readonly map = new ExtentMap();
  readonly allocator = new Allocator({ chunkCount: 2, cellsPerChunk: 8 });
  readonly volumes = [volumeOf(1, 0), volumeOf(2, 1)];

  constructor() {
    for (const volume of this.volumes) {
      for (const extent of [0, 1]) {
        this.map.setSingle(volume, extent, {
          cell: this.allocator.take(),
          data: ALL,
          era: volume.era,
        });
      }
    }
  }

  get first(): Volume {
    const [first] = this.volumes;
    assert.ok(first !== undefined);
    return first;
  }

  codes(): string[] {
    const findings = new Findings();
    const { map, allocator, volumes } = this;
    const table = { all: () => volumes } as unknown as VolumeTable;
    const count = checkOwners({ map, allocator, table, findings });
    assert.equal(count, volumes.filter((volume) => volume.slot >= 0).length);
    return findings.list.map(({ code }) => code);
  }
}

function volumeOf(number: number, slot: number): Volume {
  const uuid = number.toString(16).padStart(32, '0');
  const sizeBytes = 4 * EXTENT_BYTES;
  return new Volume({ number, slot, uuid, sizeBytes, epoch: 0, birth: 1, attachId: undefined });
}

test('nothing is found on a sound drive', () => assert.deepEqual(new State().codes(), []));

test('a cell with two owners is found', () => {
  const state = new State();
  state.map.setSingle(state.first, 2, { cell: 0, data: ALL, era: state.first.era });
  assert.deepEqual(state.codes(), ['CELL_OWNED_TWICE']);
});

test('a cell that is owned and counts as free is found', () => {
  const state = new State();
  state.map.setSingle(state.first, 2, { cell: 9, data: ALL, era: state.first.era });
  // As many are owned as taken would say, were it not for the one that is not.
  state.allocator.mark(10);
  assert.deepEqual(state.codes(), ['CELL_FREE_AND_OWNED']);
});

test('cells that are taken and nobody owns are found', () => {
  const state = new State();
  state.allocator.take();
  assert.deepEqual(state.codes(), ['CELLS_LEAKED']);
});

test('two cells of one birth are found', () => {
  const state = new State();
  const { era } = state.first;
  const second = { cell: state.allocator.take(), decided: 0x00f0, data: 0x00f0, era };
  state.map.setVersions(state.first, 0, [second, { cell: 0, decided: ALL, data: ALL, era }]);
  assert.deepEqual(state.codes(), ['BIRTH_TWICE']);
});

test('masks that disagree are found', () => {
  const state = new State();
  const { era } = state.first;
  state.map.setVersions(state.first, 0, [{ cell: 0, decided: 0x00ff, data: 0x0100, era }]);
  assert.deepEqual(state.codes(), ['MASKS_DISAGREE']);
});

test('extents of a volume that the table does not have are found', () => {
  const state = new State();
  const ghost = volumeOf(9, -1);
  state.volumes.push(ghost);
  state.map.setSingle(ghost, 0, { cell: state.allocator.take(), data: ALL, era: ghost.era });
  assert.deepEqual(state.codes(), ['OWNER_UNKNOWN']);
});

test('data past the end of a volume is found, unless a snapshot or a deletion explains it', () => {
  const state = new State();
  state.first.sizeBytes = EXTENT_BYTES;
  assert.deepEqual(state.codes(), ['EXTENT_BEYOND_END']);
  state.first.snapshots = [{ birth: 1, slot: 5, state: 'live' }];
  assert.deepEqual(state.codes(), []);
  state.first.snapshots = [];
  state.first.state = 'deleting';
  assert.deepEqual(state.codes(), []);
});
