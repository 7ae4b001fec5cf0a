import assert from 'node:assert/strict';
import { test } from 'node:test';

import { newestSuperblock } from '../../sim/checked-drive.ts';
import { DriveRig } from '../../sim/drive-rig.ts';
import type { DriveStore } from './drive-store.ts';
import type { MarkedChange, ReplicaVolume } from './replica-volume.ts';
import { REPLICAS } from './superblock.ts';

const VOLUME = 'a'.repeat(32);
const BYTES = 2 ** 20;
const BLOCK = 4096;
const EXTENT = 65_536;

/** A client of one replica that does one request at a time. */
class Replica {
  readonly rig: DriveRig;
  readonly store: DriveStore;
  readonly volume: ReplicaVolume;
  readonly #address: number;
  readonly #waiting = new Map<number, (errno: number) => void>();
  #token = 0;
  epoch = 5;
  number = 0;

  constructor(rig: DriveRig, store: DriveStore) {
    this.rig = rig;
    this.store = store;
    this.#address = rig.arena.reserve(EXTENT, BLOCK);
    this.volume = store.openReplica(VOLUME, (token, errno) => {
      this.#waiting.get(token)?.(errno);
      rig.world.askToSettle();
    });
  }

  get #change(): MarkedChange {
    return { epoch: this.epoch, number: ++this.number, stamp: this.epoch, fua: false };
  }

  async write(offsetBytes: number, lengthBytes: number, fill: number): Promise<void> {
    this.rig.arena.u8.fill(fill, this.#address, this.#address + lengthBytes);
    const range = { offsetBytes, lengthBytes };
    await this.#do((token) => this.volume.write(token, range, this.#address, this.#change));
  }

  async trim(offsetBytes: number, lengthBytes: number): Promise<void> {
    const range = { offsetBytes, lengthBytes };
    await this.#do((token) => this.volume.trim(token, range, this.#change));
  }

  async flush(): Promise<void> {
    await this.#do((token) => this.volume.flush(token));
  }

  digest(extent: number): ReturnType<ReplicaVolume['digest']> {
    return this.rig.run(this.volume.digest(extent, this.#address));
  }

  async #do(submit: (token: number) => void): Promise<void> {
    const token = this.#token++;
    const done = new Promise<number>((resolve) => this.#waiting.set(token, resolve));
    this.rig.inTurn(() => submit(token));
    assert.equal(await this.rig.run(done), 0);
  }
}

async function made(seed = 1): Promise<Replica> {
  const rig = new DriveRig(seed);
  await rig.format();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: VOLUME, sizeBytes: BYTES, isReplica: true }));
  return new Replica(rig, store);
}

async function reopened({ rig, epoch, number }: Replica, marksMax = Infinity): Promise<Replica> {
  await rig.restart();
  const next = new Replica(rig, await rig.open({ marksMax }));
  return Object.assign(next, { epoch, number });
}

/** Lets a power cut leave what was flushed, and nothing else. */
async function cut(replica: Replica): Promise<Replica> {
  replica.rig.machine.powerOff((disk) => disk.cut(() => -1));
  return await reopened(replica);
}

const sample = { seen: Uint8Array.from([1, 2, 3, 4, 5]) };

test('a mark comes with its change and goes when its head says that it is durable everywhere', async () => {
  const replica = await made();
  const { volume } = replica;
  await replica.write(0, 2 * BLOCK, 1);
  await replica.write(3 * EXTENT + BLOCK, BLOCK, 2);
  assert.deepEqual(volume.marks(), [
    { extent: 0, mask: 3 },
    { extent: 3, mask: 2 },
  ]);
  // What was a hole is one on every replica that holds what this one does.
  await replica.trim(5 * EXTENT, EXTENT);
  await replica.trim(BLOCK, BLOCK);
  assert.equal(volume.marks().length, 2);
  volume.dropMarks(5, 3);
  assert.deepEqual(volume.marks(), [{ extent: 0, mask: 3 }]);
  volume.dropMarks(6, 0);
  assert.deepEqual(volume.marks(), []);
});

test('marks outlive a kill, a clean close with its checkpoint, and a power cut with their changes', async () => {
  let replica = await made();
  await replica.write(0, BLOCK, 1);
  await replica.flush();
  replica = await reopened(replica);
  assert.deepEqual(replica.volume.marks(), [{ extent: 0, mask: 1 }]);
  await replica.write(EXTENT, BLOCK, 1);
  await replica.rig.run(replica.store.close());
  replica = await reopened(replica);
  assert.deepEqual(
    replica.volume.marks().map(({ extent }) => extent),
    [0, 1],
  );
  await replica.write(2 * EXTENT, BLOCK, 1);
  replica = await cut(replica);
  assert.deepEqual(
    replica.volume.marks().map(({ extent }) => extent),
    [0, 1],
  );
  replica.volume.dropMarks(5, 3);
  await replica.write(4 * EXTENT, BLOCK, 1);
  replica = await reopened(replica);
  assert.deepEqual(replica.volume.marks(), [{ extent: 4, mask: 1 }]);
});

test('a life ends with a power cut and with a failed write or flush, not with a kill or a clean close', async () => {
  let replica = await made();
  assert.equal(replica.volume.life, 1);
  await replica.write(0, BLOCK, 1);
  replica = await reopened(replica);
  assert.equal(replica.volume.life, 1);
  await replica.rig.run(replica.store.close());
  replica.rig.machine.powerOff((disk) => disk.cut(() => -1));
  replica = await reopened(replica);
  assert.equal(replica.volume.life, 1);
  replica = await cut(replica);
  assert.equal(replica.volume.life, 2);
  replica = await reopened(replica);
  assert.equal(replica.volume.life, 2);
  for (const [on, uuid] of [
    ['flush', 'b'.repeat(32)],
    ['write', 'c'.repeat(32)],
  ] as const) {
    const before: number = replica.volume.life;
    replica.rig.machine.faults.add({ on, nth: 1, give: { kind: 'error', errno: 5 } });
    const store = replica.store;
    await assert.rejects(replica.rig.run(store.createVolume({ uuid, sizeBytes: BYTES })));
    replica = await reopened(replica);
    assert.equal(replica.volume.life, before + 1);
  }
});

test('what a replica keeps is durable, with its size; what a smaller size cut off reads as zeros', async () => {
  let replica = await made();
  assert.deepEqual(replica.volume.seen, new Uint8Array());
  await replica.write(BYTES - EXTENT, EXTENT, 7);
  await replica.rig.run(replica.volume.keep(sample.seen, BYTES - EXTENT));
  await replica.rig.run(replica.volume.keep(sample.seen, BYTES + EXTENT));
  replica = await cut(replica);
  assert.deepEqual(replica.volume.seen, sample.seen);
  assert.equal(replica.volume.sizeBytes, BYTES + EXTENT);
  assert.deepEqual(replica.volume.survey(0, 100), []);
});

test('stamps are on what is marked, and durable with what is kept next', async () => {
  let replica = await made();
  await replica.write(0, BLOCK, 1);
  await replica.write(EXTENT, BLOCK, 1);
  replica.volume.dropMarks(5, 2);
  await replica.rig.run(replica.volume.stamp(9));
  await replica.rig.run(replica.volume.stamp(8));
  await replica.rig.run(replica.volume.keep(sample.seen, BYTES));
  for (const end of [reopened, cut]) {
    replica = await end(replica);
    assert.deepEqual(
      replica.volume.survey(0, 16).map(({ extent, stamp }) => [extent, stamp]),
      [
        [0, 5],
        [1, 9],
      ],
    );
  }
});

test('a digest tells bytes and holes, not how they came to be', async () => {
  const [one, other] = [await made(1), await made(2)];
  await one.write(0, EXTENT, 3);
  await one.trim(4 * BLOCK, BLOCK);
  await other.write(0, 4 * BLOCK, 3);
  await other.write(5 * BLOCK, EXTENT - 5 * BLOCK, 3);
  const digest = await one.digest(0);
  assert.deepEqual(await other.digest(0), digest);
  assert.ok('words' in digest && digest.dataMask === 0xffef && digest.stamp === 5);
  // Zeros that take space are no hole.
  await other.write(4 * BLOCK, BLOCK, 0);
  assert.notDeepEqual(await other.digest(0), digest);
});

test('at their bound marks become coarser, and nothing fails', async () => {
  let replica = await made();
  replica = await reopened(replica, 2);
  for (const extent of [0, 1, 2, 3]) await replica.write(extent * EXTENT, BLOCK, 1);
  const marked = Array.from({ length: 16 }, (_, extent) => ({ extent, mask: 1 }));
  assert.deepEqual(replica.volume.marks(), marked);
  replica = await reopened(replica, 2);
  assert.deepEqual(replica.volume.marks(), marked);
  replica.volume.dropMarks(5, 4);
  assert.equal(replica.volume.marks().length, 16);
  replica.volume.dropMarks(5, 5);
  await replica.write(EXTENT, BLOCK, 1);
  assert.deepEqual(replica.volume.marks(), [{ extent: 1, mask: 1 }]);
});

test('a volume is made with one replica or with several', async () => {
  const { rig, store } = await made();
  const create = (isReplica: boolean): Promise<unknown> =>
    rig.run(store.createVolume({ uuid: VOLUME, sizeBytes: BYTES, isReplica }));
  await create(true);
  await assert.rejects(create(false), /several replicas/);
  assert.throws(() => store.openTarget(VOLUME, () => undefined), /changed by its head/);
});

test('only the first replica gives a drive the feature that older builds refuse', async () => {
  const rig = new DriveRig(1);
  await rig.format();
  const store = await rig.open();
  await rig.run(store.createVolume({ uuid: 'b'.repeat(32), sizeBytes: BYTES }));
  assert.equal(newestSuperblock(rig).features, 0);
  assert.equal(store.life, 0);
  await rig.run(store.createVolume({ uuid: VOLUME, sizeBytes: BYTES, isReplica: true }));
  assert.equal(newestSuperblock(rig).features, REPLICAS);
  assert.equal(store.life, 1);
});

test('a life that a failed flush ended stays ended, wherever the next opening is killed', async () => {
  // Of its operations: about where it makes its first superblock.
  for (const count of [9, 10, 11, 12, 13]) {
    let replica = await made();
    const { rig, store } = replica;
    rig.machine.faults.add({ on: 'flush', nth: 1, give: { kind: 'error', errno: 5 } });
    await assert.rejects(rig.run(store.createVolume({ uuid: 'b'.repeat(32), sizeBytes: BYTES })));
    await rig.restart();
    rig.killAfter(count);
    await rig.open().catch(() => undefined);
    replica = await reopened(replica);
    assert.ok(replica.volume.life > 1, `killed at operation ${count}`);
  }
});
