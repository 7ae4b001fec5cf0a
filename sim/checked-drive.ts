/** A small drive for tests of the check and of opening: made, damaged in a named place, looked at. */

import assert from 'node:assert/strict';

import { checksumOf } from '../src/lib/checksum.ts';
import type { CheckReport } from '../src/store/check-report.ts';
import type { DriveStore } from '../src/store/drive-store.ts';
import { Geometry, planLayout, type Layout } from '../src/store/geometry.ts';
import { parseSuperblock, type Superblock } from '../src/store/superblock.ts';
import { DriveRig, SMALL } from './drive-rig.ts';

export const VOLUME = 'a'.repeat(32);
export const BLOCK = 4096;
export const EXTENT = 65_536;
const VOLUME_BYTES = 2 ** 20;

/** A repair opens the drive as the engine does, with its large frames and memories: a log of 7 MiB, 64 MiB of arena. */
const MEMORY_PAGES = 1024;
const { sizeBytes, ...shape } = { ...SMALL, sizeBytes: 16 * 2 ** 20, logBytes: 7 * 2 ** 20 };
const planned = planLayout({ ...shape, sizeBytes });
assert.ok(planned !== undefined);

export const LAYOUT: Layout = planned;
export const GEOMETRY: Geometry = new Geometry(LAYOUT);
/** The first cell goes to the first extent that is written. */
export const CELL = 0;
export const OWNERS: number = GEOMETRY.ownerPage(CELL);
export const SUMS: number = GEOMETRY.checksumPage(CELL);

export async function formattedDrive(seed = 7): Promise<DriveRig> {
  const rig = new DriveRig(seed, MEMORY_PAGES);
  await rig.format({ sizeBytes, geometry: shape });
  return rig;
}

/** A drive with one volume whose first three extents hold 1, 2 and 3, closed cleanly or killed. */
export async function writtenDrive(end: 'closed' | 'killed'): Promise<DriveRig> {
  const rig = await formattedDrive();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: VOLUME, sizeBytes: VOLUME_BYTES }));
  const client = rig.client(store, VOLUME);
  for (const extent of [0, 1, 2]) {
    assert.equal(await client.write(extent * EXTENT, new Uint8Array(EXTENT).fill(extent + 1)), 0);
  }
  assert.equal(await client.flush(), 0);
  if (end === 'closed') await rig.run(store.close());
  await rig.restart();
  return rig;
}

/** A drive whose process died between the checkpoint of a clean close and the mirroring behind it. */
export async function unmirroredDrive(): Promise<DriveRig> {
  const rig = await formattedDrive();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: VOLUME, sizeBytes: VOLUME_BYTES }));
  const client = rig.client(store, VOLUME);
  assert.equal(await client.write(0, new Uint8Array(BLOCK).fill(1)), 0);
  rig.machine.onOperation = (operation) => {
    const isPage =
      operation.kind === 'read' && operation.positionBytes >= LAYOUT.directoryStart * BLOCK;
    if (isPage && store.status().counters['checkpoints'] === 2)
      rig.machine.powerOff((disk) => disk.flush(Infinity));
  };
  const closing = store.close();
  closing.catch(() => undefined);
  await assert.rejects(rig.run(closing), /nothing is left to happen/);
  await rig.restart();
  return rig;
}

/** One more life of the drive: opened, `work` done, and left to be killed once the log says what is durable. */
export async function killedAfter(
  rig: DriveRig,
  work: (store: DriveStore) => Promise<void>,
): Promise<void> {
  await work(await rig.open());
  await rig.world.sleep(100_000);
  await rig.restart();
}

/** Severity and code of each finding, once. */
export function found({ findings }: CheckReport): string[] {
  return [...new Set(findings.map(({ severity, code }) => `${severity} ${code}`))].toSorted();
}

/** What is wrong, notes left out. */
export function wrong(report: CheckReport): string[] {
  return found(report).filter((each) => !each.startsWith('note'));
}

/** Flips a bit in the block. */
export function rotBlock(rig: DriveRig, block: number): void {
  rig.rot(block * BLOCK + 100);
}

export function rotPage(rig: DriveRig, page: number, copy: number): void {
  rotBlock(rig, GEOMETRY.pageBlock(page, copy));
}

/** What the blocks hold on the media. */
export function blockOf(rig: DriveRig, block: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK);
  rig.disk.read(block * BLOCK, bytes);
  return bytes;
}

export function putBlock(rig: DriveRig, block: number, bytes: Uint8Array): void {
  rig.disk.apply({ completed: 0 }, block * BLOCK, bytes);
}

/** Changes both copies of a metadata page and signs them anew, as a bug would have written them. */
export function rewritePage(rig: DriveRig, page: number, edit: (words: Uint32Array) => void): void {
  for (const copy of [0, 1]) {
    resign(rig, GEOMETRY.pageBlock(page, copy), (words) => {
      assert.notEqual(words[0], 0, 'a closed drive has both copies of what was written');
      edit(words);
      return { word: 1, seeds: [page, words[4] ?? 0] };
    });
  }
}

/** Changes a block and signs it anew: `edit` says where its checksum lies and with which seeds. */
export function resign(
  rig: DriveRig,
  block: number,
  edit: (words: Uint32Array) => {
    readonly word: number;
    readonly seeds: readonly [number, number];
  },
): void {
  const { arena } = rig;
  const address = arena.reserve(BLOCK, BLOCK);
  const words = arena.u32.subarray(address >>> 2, (address + BLOCK) >>> 2);
  arena.u8.set(blockOf(rig, block), address);
  const { word, seeds } = edit(words);
  words[word] = 0;
  words[word] = checksumOf(arena.memory)(address, BLOCK, ...seeds);
  putBlock(rig, block, arena.u8.slice(address, address + BLOCK));
}

/** The newest superblock on the media. */
export function newestSuperblock(rig: DriveRig): Superblock {
  const { arena } = rig;
  const address = arena.reserve(BLOCK, BLOCK);
  const checksum = checksumOf(arena.memory);
  const good = [0, 1].flatMap((block) => {
    arena.u8.set(blockOf(rig, block), address);
    const parsed = parseSuperblock(arena.u32, { address, checksum });
    return parsed.kind === 'ok' ? [parsed.superblock] : [];
  });
  const [newest] = good.toSorted((a, b) => b.n - a.n);
  assert.ok(newest !== undefined, 'a drive has a superblock');
  return newest;
}
