import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from '../model/errors.ts';
import { DriveRig } from '../../sim/drive-rig.ts';
import type { DriveStore } from './drive-store.ts';

const MIB = 2 ** 20;
const uuidOf = (index: number): string => index.toString(16).padStart(32, 'a');

async function formatted(seed: number): Promise<{ rig: DriveRig; store: DriveStore }> {
  const rig = new DriveRig(seed);
  await rig.format();
  return { rig, store: await rig.open() };
}

/** What `read` says now, and in two later processes: one after SIGKILL reads the log, one after a clean close the pages. */
async function nowAndLater<T>(
  rig: DriveRig,
  store: DriveStore,
  read: (store: DriveStore) => T,
): Promise<readonly [now: T, later: readonly T[]]> {
  const now = read(store);
  await rig.restart();
  const killed = await rig.open();
  const later = [read(killed)];
  await rig.run(killed.close());
  await rig.restart();
  const closed = await rig.open();
  later.push(read(closed));
  await rig.run(closed.close());
  return [now, later];
}

test('volumes created at the same time get slots and numbers of their own', async () => {
  const { rig, store } = await formatted(1);
  const made = [1, 2, 3, 4, 5, 6].map((index) =>
    store.createVolume({ uuid: uuidOf(index), sizeBytes: index * MIB }),
  );
  const statuses = await rig.run(Promise.all(made));
  assert.equal(new Set(statuses.map(({ number }) => number)).size, 6);
  const sizes = (opened: DriveStore): string[] =>
    opened
      .volumes()
      .map(({ uuid, sizeBytes }) => `${uuid} ${sizeBytes / MIB}`)
      .toSorted();
  const [now, later] = await nowAndLater(rig, store, sizes);
  assert.deepEqual(
    now,
    [1, 2, 3, 4, 5, 6].map((index) => `${uuidOf(index)} ${index}`),
  );
  assert.deepEqual(later, [now, now]);
});

test('one volume created twice at the same time is one volume, and durable for both callers', async () => {
  const { rig, store } = await formatted(2);
  const make = () => store.createVolume({ uuid: uuidOf(1), sizeBytes: MIB });
  const [first, second] = await rig.run(Promise.all([make(), make()]));
  assert.equal(first.number, second.number);
  assert.equal(store.volumes().length, 1);
});

test('snapshots, attachments and sizes of one volume at the same time all count', async () => {
  const { rig, store } = await formatted(3);
  const uuid = uuidOf(1);
  await rig.run(store.createVolume({ uuid, sizeBytes: MIB }));
  const attachId = 'b'.repeat(32);
  const births: Promise<number>[] = [];
  const work: Promise<unknown>[] = [];
  for (let round = 1; round <= 3; round++) {
    births.push(store.snapshot(uuid));
    work.push(store.setAttachment(uuid, { attachId, epoch: round }));
    work.push(store.resizeVolume(uuid, (1 + round) * MIB));
  }
  await rig.run(Promise.all(work));
  assert.deepEqual(await rig.run(Promise.all(births)), [1, 2, 3]);
  const [now, later] = await nowAndLater(rig, store, (opened) => opened.volumes());
  assert.deepEqual(
    now.map(({ epoch, sizeBytes, snapshots }) => ({ epoch, sizeBytes, snapshots })),
    [{ epoch: 3, sizeBytes: 4 * MIB, snapshots: [1, 2, 3] }],
  );
  assert.deepEqual(later, [now, now]);
});

test('snapshots deleted at the same time free their own slots and no other', async () => {
  const { rig, store } = await formatted(4);
  const uuid = uuidOf(1);
  await rig.run(store.createVolume({ uuid, sizeBytes: MIB }));
  const client = rig.client(store, uuid);
  for (const fill of [1, 2, 3, 4]) {
    assert.equal(await client.write(0, new Uint8Array(8192).fill(fill)), 0);
    if (fill < 4) await rig.run(store.snapshot(uuid));
  }
  const deletions = [1, 2, 3].map((birth) => store.deleteSnapshot(uuid, birth));
  // Their slots come free while these ask for some.
  const volumes = [2, 3, 4, 5].map((index) =>
    store.createVolume({ uuid: uuidOf(index), sizeBytes: MIB }),
  );
  await rig.run(Promise.all([...deletions, ...volumes]));
  await rig.run(store.settled());
  assert.deepEqual(await client.read(0, 4096), new Uint8Array(4096).fill(4));
  const [now, later] = await nowAndLater(rig, store, (opened) =>
    opened
      .volumes()
      .map((volume) => `${volume.uuid} ${volume.snapshots.length}`)
      .toSorted(),
  );
  assert.deepEqual(
    now,
    [1, 2, 3, 4, 5].map((index) => `${uuidOf(index)} 0`),
  );
  assert.deepEqual(later, [now, now]);
});

test('a volume that is deleted and made again at the same time is a new, empty one', async () => {
  const { rig, store } = await formatted(5);
  const uuid = uuidOf(1);
  const { number } = await rig.run(store.createVolume({ uuid, sizeBytes: MIB }));
  assert.equal(await rig.client(store, uuid).write(0, new Uint8Array(4096).fill(1)), 0);
  const deleted = store.deleteVolume(uuid);
  const made = store.createVolume({ uuid, sizeBytes: 2 * MIB });
  await rig.run(deleted);
  const again = await rig.run(made);
  assert.notEqual(again.number, number);
  assert.deepEqual(await rig.client(store, uuid).read(0, 4096), new Uint8Array(4096));
  await rig.run(store.close());
  assert.equal((await rig.check({ data: true })).summary, 'clean');
});

test('what is asked of a volume behind its deletion is refused', async () => {
  const { rig, store } = await formatted(6);
  const uuid = uuidOf(1);
  await rig.run(store.createVolume({ uuid, sizeBytes: MIB }));
  const deleted = store.deleteVolume(uuid);
  const later = [
    store.snapshot(uuid),
    store.resizeVolume(uuid, 2 * MIB),
    store.setAttachment(uuid, { attachId: 'c'.repeat(32), epoch: 1 }),
  ].map((work) =>
    work.then(
      () => 'done',
      (error: unknown) => (error instanceof Refusal ? error.code : String(error)),
    ),
  );
  await rig.run(deleted);
  assert.deepEqual(await rig.run(Promise.all(later)), [
    'VOLUME_NOT_FOUND',
    'VOLUME_NOT_FOUND',
    'VOLUME_NOT_FOUND',
  ]);
});
