import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENOSPC } from '../model/errno.ts';
import { DriveRig, type RigClient } from '../../sim/drive-rig.ts';
import { Violation } from '../../sim/world.ts';
import type { DriveStore } from './drive-store.ts';
import { EXTENT_BYTES } from './geometry.ts';

const UUID = 'a'.repeat(32);
const SIZE_BYTES = 4 * 2 ** 20;
const GROWN_BYTES = 6 * 2 ** 20;

const contentOf = (extent: number): Uint8Array => new Uint8Array(4096).fill(1 + (extent % 250));

/** A drive that is full, and how many extents that took. */
async function fullDrive(): Promise<{
  rig: DriveRig;
  store: DriveStore;
  client: RigClient;
  full: number;
}> {
  const rig = new DriveRig(11);
  await rig.format({ sizeBytes: SIZE_BYTES });
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: UUID, sizeBytes: 32 * 2 ** 20 }));
  const client = rig.client(store, UUID);
  let full = 0;
  while ((await client.write(full * EXTENT_BYTES, contentOf(full))) === 0) full++;
  return { rig, store, client, full };
}

/** Grows a full drive while somebody writes on, up to the kill where there is one. */
async function growUnderWrites(
  killAt: number,
): Promise<{ rig: DriveRig; written: number; operations: number }> {
  const { rig, store, client, full } = await fullDrive();
  const first = rig.machine.operationCount;
  rig.killAfter(killAt);
  const growth = store.grow({ sizeBytes: GROWN_BYTES, sparse: true });
  growth.catch(() => undefined);
  let written = full;
  try {
    while (written < full + 12) {
      const errno = await client.write(written * EXTENT_BYTES, contentOf(written));
      if (errno === 0) written++;
      else {
        assert.equal(errno, ENOSPC);
        await rig.world.sleep(10);
      }
    }
    await rig.run(growth);
  } catch (error) {
    if (!(error instanceof Violation) || error.rule !== 'liveness') throw error;
  }
  return { rig, written, operations: rig.machine.operationCount - first };
}

/** In two lives everything that was acknowledged is there: recovered from the log, and read from the pages. Returns the drive's size. */
async function verify(rig: DriveRig, written: number): Promise<number> {
  let sizeBytes = 0;
  for (const life of ['recovered', 'closed']) {
    await rig.restart();
    const store = await rig.open();
    const client = rig.client(store, UUID);
    for (let extent = 0; extent < written; extent++) {
      const bytes = await client.read(extent * EXTENT_BYTES, 4096);
      assert.deepEqual(bytes, contentOf(extent), `extent ${extent} of ${written}, ${life}`);
    }
    ({ sizeBytes } = store.status());
    await rig.run(store.close());
  }
  await rig.restart();
  const { findings } = await rig.check({ data: true });
  assert.deepEqual(
    findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
  return sizeBytes;
}

test('a drive grows under writes, which find the new space', async () => {
  const { rig, written } = await growUnderWrites(Infinity);
  assert.equal(await verify(rig, written), GROWN_BYTES);
});

test('a process killed while a drive grows loses nothing that it acknowledged', async () => {
  const { operations } = await growUnderWrites(Infinity);
  const sizes = new Set<number>();
  for (let killAt = 1; killAt <= operations; killAt += 2) {
    const { rig, written } = await growUnderWrites(killAt);
    sizes.add(await verify(rig, written));
  }
  assert.equal(sizes.size, 2, 'it was killed before the new size counted, and after');
});

test('two growths at the same time are one after the other', async () => {
  const { rig, store, full } = await fullDrive();
  const grow = (sizeBytes: number): Promise<void> => store.grow({ sizeBytes, sparse: true });
  await rig.run(Promise.all([grow(5 * 2 ** 20), grow(GROWN_BYTES), grow(GROWN_BYTES)]));
  assert.equal(store.status().sizeBytes, GROWN_BYTES);
  assert.equal(await verify(rig, full), GROWN_BYTES);
});

test('after a growth each single superblock copy can be lost', async () => {
  for (const which of [0, 1, 2, 3]) {
    const { rig, store, client, full } = await fullDrive();
    await rig.run(store.grow({ sizeBytes: GROWN_BYTES, sparse: true }));
    // Until a checkpoint, an older superblock would be met by frames that build on a newer one, and refused.
    assert.equal(await client.write(full * EXTENT_BYTES, contentOf(full)), 0);
    await rig.restart();
    const end = GROWN_BYTES / 4096;
    rig.rot(([0, 1, end - 2, end - 1][which] ?? 0) * 4096 + 100);
    assert.equal(await verify(rig, full + 1), GROWN_BYTES);
  }
});

test('a growth that would bring no room is refused with a size that does, and changes nothing', async () => {
  const { rig, store } = await fullDrive();
  const refusals: string[] = [];
  for (const sizeBytes of [SIZE_BYTES + 4096, 2 ** 30]) {
    const growth = store.grow({ sizeBytes, sparse: true });
    await rig.run(growth.catch((error: unknown) => refusals.push(String(error))));
  }
  const [next = 0, most = 0] = refusals.map((text) =>
    Number(/\((\d+) bytes\)\D*$/.exec(text)?.[1]),
  );
  assert.equal(rig.disk.sizeBytes, SIZE_BYTES);
  for (const sizeBytes of [next, most]) {
    const { freeBytes } = store.status();
    await rig.run(store.grow({ sizeBytes, sparse: true }));
    assert.ok(store.status().freeBytes > freeBytes, `${sizeBytes} bring room`);
  }
});
