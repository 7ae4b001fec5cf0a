import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EIO } from '../../model/errno.ts';
import { attached, lossAccepted } from '../../replication/record.ts';
import { SimIo } from '../../../sim/sim-io.ts';
import { ReplicasRig, VOLUME_BYTES, replicaOf } from '../../../sim/replicas-rig.ts';

const BLOCK = 4096;

const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const filled = (count: number, fill: number): Uint8Array => new Uint8Array(count).fill(fill);

async function begun(seed = 1): Promise<ReplicasRig> {
  const rig = new ReplicasRig(seed);
  await rig.begin();
  return rig;
}

/** The content, which all drives have. */
async function areEqual(rig: ReplicasRig): Promise<Uint8Array> {
  const contents: Uint8Array[] = [];
  for (const index of [0, 1, 2]) contents.push(await rig.contentOf(index));
  const [first, ...rest] = contents;
  for (const other of rest) assert.ok(first !== undefined && Buffer.compare(first, other) === 0);
  return first ?? new Uint8Array();
}

test('a write is on all three drives, byte by byte, and is read back', async () => {
  const rig = await begun();
  assert.equal(await rig.write(0, filled(3 * BLOCK, 1)), 0);
  assert.equal(await rig.write(BLOCK + 100, filled(5000, 2)), 0);
  assert.equal(await rig.do((token) => rig.target.trim(token, 0, BLOCK, false)), 0);
  assert.equal(await rig.do((token) => rig.target.flush(token)), 0);
  const read = await rig.read(0, 3 * BLOCK);
  const expected = new Uint8Array(3 * BLOCK).fill(1, BLOCK);
  expected.fill(2, BLOCK + 100, BLOCK + 5100);
  assert.deepEqual(read, expected);
  const content = await areEqual(rig);
  assert.deepEqual(content.subarray(0, 3 * BLOCK), expected);
  const runs = new Uint32Array(8);
  assert.equal(rig.target.status(0, 5, runs), 3);
  assert.deepEqual([...runs.subarray(0, 6)], [1, 0, 2, 1, 2, 0]);
});

test('a drive that is closed leaves S, and is rebuilt when it is back', async () => {
  const rig = await begun(2);
  await rig.write(0, filled(BLOCK, 1));
  await rig.closeDrive(2);
  assert.equal(await rig.write(BLOCK, filled(BLOCK, 2)), 0);
  assert.deepEqual([...rig.record.members.keys()], [replicaOf(0), replicaOf(1)]);
  assert.ok(rig.events.includes('member lost'));
  rig.replicas.open(replicaOf(2), await rig.openDrive(2));
  rig.inTurn(() => rig.volume.head.rebuild(replicaOf(2)));
  assert.equal(await rig.write(2 * BLOCK, filled(BLOCK, 3)), 0);
  await rig.world.run(() => rig.record.members.size === 3, 'it joins');
  assert.equal(await rig.write(3 * BLOCK, filled(BLOCK, 4)), 0);
  const content = await areEqual(rig);
  for (const fill of [1, 2, 3, 4]) assert.equal(content[(fill - 1) * BLOCK], fill);
});

test('SIGKILL amid writes loses nothing acknowledged, and the drives are equal after it', async () => {
  let madeEqual = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const rig = await begun(seed);
    const may = await rig.writeUntilKilled(24, { depth: 8, killAfter: 40 + seed * 23 });
    await rig.restart();
    await rig.serve(true);
    madeEqual += rig.events.includes('extents made equal') ? 1 : 0;
    const content = await areEqual(rig);
    for (const [block, values] of may) {
      const found = content[block * BLOCK] ?? 0;
      assert.ok(
        values.includes(found),
        `seed ${seed}, block ${block}: ${found}, not ${values.join(' or ')}`,
      );
    }
  }
  assert.ok(madeEqual > 0, 'some kill left the drives different');
});

test('a power cut loses nothing flushed, and the drives are equal after it', async () => {
  const rig = await begun(7);
  await rig.write(0, filled(VOLUME_BYTES / 16, 1));
  assert.equal(await rig.do((token) => rig.target.flush(token)), 0);
  await rig.write(0, filled(BLOCK, 2));
  await rig.losePower();
  // The client died with its machine: the volume is attached anew.
  await rig.serve(false);
  const content = await areEqual(rig);
  assert.ok([1, 2].includes(content[0] ?? 0));
  assert.equal(content[BLOCK], 1);
});

test('a drive that hangs keeps no client waiting, nor its late bytes in what others read', async () => {
  const rig = await begun(9);
  const blocks = [filled(BLOCK, 1), filled(BLOCK, 2), filled(BLOCK, 3)];
  await rig.write(0, blocks[0]!);
  await rig.write(BLOCK, blocks[1]!);
  for (const request of ['read', 'write'] as const) {
    const [local] = rig.record.members.keys();
    const index = [0, 1, 2].findIndex((each) => replicaOf(each) === local);
    rig.hang(index, 20_000_000);
    const startUs = rig.world.nowUs;
    if (request === 'read') assert.deepEqual(await rig.read(0, BLOCK), blocks[0]);
    else assert.equal(await rig.write(2 * BLOCK, blocks[2]!), 0);
    assert.ok(rig.world.nowUs - startUs < 2_000_000, `${request}: ${rig.world.nowUs - startUs} us`);
    assert.ok(!rig.record.members.has(local ?? ''));
    assert.deepEqual(await rig.read(0, 2 * BLOCK), joined(blocks.slice(0, 2)));
    rig.hang(index, undefined);
    await rig.world.sleep(22_000_000);
    rig.inTurn(() => rig.volume.head.rebuild(local ?? ''));
    await rig.world.run(() => rig.record.members.size === 3, 'it is back');
  }
  const content = await areEqual(rig);
  assert.deepEqual(content.subarray(0, 3 * BLOCK), joined(blocks));
});

test('a request to a head that has ended is answered', async () => {
  const rig = await begun(8);
  rig.inTurn(() => rig.volume.head.detach());
  await rig.world.run(() => rig.end === 'detached', 'it lets go');
  assert.notEqual(await rig.write(0, filled(BLOCK, 1)), 0);
  assert.equal(rig.record.attachment, undefined);
});

/** Fills the first extent with the numbers of its blocks, from 1 on, each on all drives. */
async function writtenExtent(rig: ReplicasRig): Promise<void> {
  const bytes = new Uint8Array(16 * BLOCK);
  for (let block = 0; block < 16; block++)
    bytes.fill(block + 1, block * BLOCK, (block + 1) * BLOCK);
  assert.equal(await rig.write(0, bytes, true), 0);
}

test('a bad block is read from another drive, and mended; blocks that are bad on different ones too', async () => {
  const rig = await begun(9);
  await writtenExtent(rig);
  assert.ok(rig.rot(0, 3) > 0 && rig.rot(1, 4) > 0 && rig.rot(2, 5) > 0);
  const read = await rig.read(0, 8 * BLOCK);
  for (let block = 0; block < 8; block++) assert.equal(read[block * BLOCK], block + 1);
  await rig.world.run(() => rig.volume.head.copier.repairedCount === 3, 'all three are mended');
  const content = await areEqual(rig);
  for (let block = 0; block < 16; block++) assert.equal(content[block * BLOCK + 9], block + 1);
});

test('a drive that hangs as blocks are read from one and another writes to nothing that a client gets', async () => {
  const rig = await begun(13);
  await writtenExtent(rig);
  assert.ok(rig.rot(0, 3) > 0 && rig.rot(1, 4) > 0 && rig.rot(2, 5) > 0);
  let reads = 0;
  // Each drive has been asked for the whole once.
  rig.machine.onOperation = ({ kind }) => {
    if (kind === 'read' && ++reads === 3) rig.hang(0, 20_000_000);
  };
  const read = await rig.read(0, 8 * BLOCK);
  for (let block = 0; block < 8; block++) assert.equal(read[block * BLOCK], block + 1);
  assert.deepEqual([...rig.record.members.keys()], [replicaOf(1), replicaOf(2)]);
});

test('a block that is bad everywhere is an error, and the others are not', async () => {
  const rig = await begun(10);
  await writtenExtent(rig);
  for (const index of [0, 1, 2]) assert.ok(rig.rot(index, 3) > 0);
  assert.equal((await rig.read(3 * BLOCK, BLOCK))[0], 4);
  assert.equal(await rig.tryToRead(0, 4 * BLOCK), EIO);
  await rig.world.run(() => rig.events.includes('no readable copy'), 'it is told');
  assert.equal(await rig.write(2 * BLOCK, filled(BLOCK, 7)), 0);
  await areEqual(rig);
});

test('a scrub mends what nobody reads', async () => {
  const rig = await begun(11);
  await writtenExtent(rig);
  assert.ok(rig.rot(2, 3) > 0);
  const { head } = rig.volume;
  rig.inTurn(() => head.startScrub({ offsetBytes: 0, bytesPerSecond: 1e9 }));
  await rig.world.run(() => head.scrub?.isDone === true, 'it is through');
  assert.deepEqual([head.copier.repairedCount, head.repairs.differedCount], [1, 0]);
  assert.equal(head.scrub?.offsetBytes, VOLUME_BYTES);
  await areEqual(rig);
});

test('a loss that is accepted: one drive is the truth, and the others are made equal to it', async () => {
  const rig = await begun(12);
  await writtenExtent(rig);
  await rig.closeDrive(2);
  assert.equal(await rig.write(0, filled(BLOCK, 99), true), 0);
  await rig.losePower();
  const { record } = rig;
  assert.deepEqual([...record.members.keys()], [replicaOf(0), replicaOf(1)]);
  const life = rig.stores[2]?.life ?? 0;
  const lineage = record.lineage + 2 ** 40;
  const accepted = lossAccepted(record, { replica: replicaOf(2), life, lineage, writer: 'f7' });
  rig.record = attached(accepted, { attachId: 'cc'.repeat(16), boot: 'bb'.repeat(16) }, 'f8');
  await rig.serve(false);
  assert.equal((await rig.read(0, BLOCK))[0], 1);
  for (const index of [0, 1]) rig.inTurn(() => rig.volume.head.rebuild(replicaOf(index)));
  await rig.world.run(() => rig.record.members.size === 3, 'both join');
  const content = await areEqual(rig);
  assert.deepEqual([content[0], content[BLOCK]], [1, 2]);
  assert.equal(rig.record.lineage, lineage);
});

test('a volume that is attached and idle asks its drives for nothing, and for no timer', async (context) => {
  const rig = await begun();
  assert.equal(await rig.write(0, filled(BLOCK, 1)), 0);
  await rig.world.sleep(60_000_000);
  const timer = context.mock.method(SimIo.prototype, 'timer');
  const before = rig.machine.operationCount;
  await rig.world.sleep(60_000_000);
  assert.deepEqual([timer.mock.callCount(), rig.machine.operationCount - before], [0, 0]);
});
