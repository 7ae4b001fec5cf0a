import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../lib/prng.ts';
import { ExtentMap, NONE, type Version } from './extent-map.ts';
import { EXTENT_BYTES } from './geometry.ts';
import { Volume } from './volume.ts';

const EXTENTS = 2000;
const ALL = 0xffff;

function volumeOf(number: number, extents: number = EXTENTS): Volume {
  return new Volume({
    number,
    slot: number,
    uuid: number.toString(16).padStart(32, '0'),
    sizeBytes: extents * EXTENT_BYTES,
    epoch: 0,
    birth: 1,
    attachId: undefined,
  });
}

function drawVersion(prng: Prng, decided: number): Version {
  return {
    // The largest cell number has 30 bits.
    cell: prng.below(2 ** 30),
    decided,
    data: prng.below(ALL + 1) & decided,
    era: prng.below(2 ** 16),
  };
}

/** Newest first; the oldest decides every block where nothing lies below it, as on a drive. */
function drawVersions(prng: Prng): Version[] {
  const count = prng.below(4);
  const lists = Array.from({ length: count }, () => drawVersion(prng, prng.below(ALL + 1)));
  return prng.chance(70) ? [...lists, drawVersion(prng, ALL)] : lists;
}

test('the map agrees with a Map of lists over random changes of two volumes', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed);
    const map = new ExtentMap();
    const volumes = [volumeOf(1), volumeOf(2)];
    const model = new Map<string, readonly Version[]>();
    const key = (volume: Volume, extent: number): string => `${volume.number}/${extent}`;
    for (let step = 0; step < 8000; step++) {
      const volume = prng.pick(volumes);
      const extent = prng.below(EXTENTS);
      if (prng.chance(40)) {
        const version = drawVersion(prng, ALL);
        map.setSingle(volume, extent, version);
        model.set(key(volume, extent), [version]);
      } else {
        const versions = drawVersions(prng);
        map.setVersions(volume, extent, versions);
        if (versions.length === 0) model.delete(key(volume, extent));
        else model.set(key(volume, extent), versions);
      }
      const probe = prng.below(EXTENTS);
      assert.deepEqual(map.versions(volume, probe), model.get(key(volume, probe)) ?? []);
    }
    for (const volume of volumes) {
      const from = prng.below(EXTENTS);
      const seen: number[] = [];
      map.forEach(volume, from, (extent) => seen.push(extent) > 0);
      const wanted = [...model.keys()]
        .filter((each) => each.startsWith(`${volume.number}/`))
        .map((each) => Number(each.split('/')[1]))
        .filter((extent) => extent >= from);
      assert.deepEqual(
        seen,
        wanted.toSorted((a, b) => a - b),
      );
    }
  }
});

test('single tells one full version, a list and nothing apart', () => {
  const map = new ExtentMap();
  const volume = volumeOf(1);
  assert.equal(map.single(volume, 5), NONE);
  map.setSingle(volume, 5, { cell: 77, data: 0x8001, era: 65_535 });
  assert.equal(map.single(volume, 5), 77);
  assert.deepEqual([map.data, map.era], [0x8001, 65_535]);
  map.setVersions(volume, 6, [
    { cell: 1, decided: 1, data: 1, era: 0 },
    { cell: 2, decided: ALL, data: ALL, era: 0 },
  ]);
  assert.equal(map.single(volume, 6), -1);
  assert.equal(map.single(volume, 7), NONE);
});

test('a version that leaves blocks open keeps them open', () => {
  const map = new ExtentMap();
  const volume = volumeOf(1);
  const version = { cell: 3, decided: 0x00f0, data: 0x0030, era: 4 };
  map.setVersions(volume, 1, [version]);
  assert.deepEqual(map.versions(volume, 1), [version]);
});

test('dropping a volume frees its leaves for another, and leaves nothing in them', () => {
  const map = new ExtentMap();
  const first = volumeOf(1);
  const second = volumeOf(2);
  for (let extent = 0; extent < EXTENTS; extent++) {
    map.setSingle(first, extent, { cell: extent, data: ALL, era: 0 });
  }
  map.setSingle(second, 9, { cell: 1, data: 1, era: 0 });
  map.drop(first);
  const third = volumeOf(3);
  map.setSingle(third, 600, { cell: 4, data: 1, era: 0 });
  const seen: number[] = [];
  map.forEach(third, 0, (extent) => seen.push(extent) > 0);
  assert.deepEqual(seen, [600]);
  assert.equal(map.single(second, 9), 1);
});

test('a visit ends where the visitor says so', () => {
  const map = new ExtentMap();
  const volume = volumeOf(1);
  for (const extent of [3, 600, 1500]) map.setSingle(volume, extent, { cell: 1, data: 1, era: 0 });
  const seen: number[] = [];
  map.forEach(volume, 0, (extent) => seen.push(extent) < 2);
  assert.deepEqual(seen, [3, 600]);
});
