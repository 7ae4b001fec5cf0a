import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Turnstile } from '../../lib/turnstile.ts';
import { Refusal } from '../../model/errors.ts';
import type { AttachmentRecord, VolumeRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import { HeadKeeper } from './head-keeper.ts';
import { HeadRequests } from './head-requests.ts';
import type { ThisNode } from './this-node.ts';

const ATTACH_ID = 'a'.repeat(32);
const SET = {
  lineage: 1,
  epoch: 5,
  writer: 'e'.repeat(32),
  members: [['b'.repeat(32), 1]],
  minimum: 1,
  sizeBytes: 4096,
};

const attachment = {
  attachId: ATTACH_ID,
  node: 'a',
  wanted: 'nbd',
  state: 'attached',
  socketPath: '/x.sock',
  device: undefined,
} satisfies AttachmentRecord;

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** Node a in the second boot of its machine. `calls`: what its engine was asked. */
async function setUp(volume: Partial<VolumeRecord>, set: object) {
  const { records } = memoryRecords();
  const record = { name: 'db', id: 'v', drive: '', state: 'ready', ...volume } as VolumeRecord;
  await records.change({
    puts: [
      { key: 'volume/db', record },
      { key: 'set/v', record: { ...SET, ...set } },
    ],
  });
  const news: JsonObject[] = [];
  const calls: { readonly name: string; readonly args: JsonObject }[] = [];
  let nextId = 1;
  const parts = {
    records,
    node: 'a',
    bootId: 'boot 2',
    newAttachId: () => String(nextId++).padStart(32, '0'),
    onStep: () => undefined,
    turnstile: new Turnstile(),
    attacher: { call: () => new Promise(() => undefined) },
    engine: {
      call: (name: string, args: JsonObject) => {
        calls.push({ name, args });
        if (name === 'head.status') {
          return Promise.resolve({
            attachId: ATTACH_ID,
            epoch: 5,
            state: 'serving',
            stalled: null,
            connections: 1,
          });
        }
        if (name === 'head.next') {
          const told = news.shift();
          return told === undefined ? new Promise(() => undefined) : Promise.resolve(told);
        }
        return Promise.resolve({ socketPath: '/x.sock' });
      },
    },
  } as unknown as ControlParts;
  const node = { name: 'a', meetEngine: () => Promise.resolve(1) } as unknown as ThisNode;
  const next = (told: JsonObject): void => {
    news.push({ transactions: [], ended: [], ...told });
  };
  const keeper = new HeadKeeper(parts, node);
  const uses = { node: 'a', heads: keeper, onSetChange: () => undefined };
  return { records, record, calls, next, keeper, requests: new HeadRequests(parts, uses) };
}

test('after a reboot the client of before is over; the one of now is not, whatever its engine does', async () => {
  const before = { attachment: { attachId: ATTACH_ID, boot: 'boot 1' } };
  const { records, record, calls, keeper } = await setUp({ attachment }, before);
  await keeper.serve(record, attachment);
  assert.equal(calls[0]?.args['clientLives'], false);
  assert.equal((await records.set('v'))?.record.attachment?.boot, 'boot 2');
  // Its engine is started anew.
  await keeper.serve(record, attachment);
  assert.equal(calls[1]?.args['clientLives'], true);
});

test('growth of a volume that was attached meanwhile leaves its attachment alone', async () => {
  const { records, keeper } = await setUp(
    { attachment },
    { attachment: { attachId: ATTACH_ID, boot: 'boot 1' } },
  );
  const asRead = { name: 'db', id: 'v', attachment: undefined } as unknown as VolumeRecord;
  await assert.rejects(
    keeper.grow(asRead, 8192),
    (error: unknown) => error instanceof Refusal && error.code === 'STORE_CONFLICT',
  );
  assert.equal((await records.set('v'))?.record.attachment?.attachId, ATTACH_ID);
});

test('growth of a volume that is attached nowhere ends whoever tends it', async () => {
  const { records, record, keeper } = await setUp(
    {},
    { attachment: { attachId: ATTACH_ID, boot: 'boot 1' } },
  );
  await keeper.grow(record, 8192);
  const set = (await records.set('v'))?.record;
  assert.deepEqual([set?.attachment, set?.sizeBytes, set?.epoch], [undefined, 8192, 7]);
});

test('a head that an earlier start of its engine has overtaken is started anew under its attachment', async () => {
  const { record, calls, requests, next } = await setUp(
    { attachment },
    { epoch: 6, attachment: { attachId: ATTACH_ID, boot: 'boot 2' } },
  );
  next({ ended: [{ uuid: record.id, attachId: ATTACH_ID, end: 'overtaken' }] });
  requests.start();
  await until(() => calls.some(({ name }) => name === 'head.start'));
  requests.stop();
  assert.deepEqual(
    calls.map(({ name }) => name).filter((name) => name !== 'head.next'),
    ['head.status', 'head.detach', 'head.start'],
  );
});

test('an attacher that is away keeps no other volume from its transaction, and the news of the ended head stays', async () => {
  const { record, calls, requests, next } = await setUp(
    { attachment },
    { attachment: { attachId: 'c'.repeat(32), boot: 'boot 2' } },
  );
  next({ ended: [{ uuid: record.id, attachId: ATTACH_ID, end: 'overtaken' }] });
  next({ transactions: [{ uuid: 'w', expected: SET, next: SET }] });
  requests.start();
  await until(() => calls.some(({ name }) => name === 'head.outcome'));
  requests.stop();
  assert.equal(
    calls.some(({ name }) => name === 'head.detach'),
    false,
  );
});

test('a head goes on under restored records, once every node has said what its replicas know', async () => {
  const { records, record, calls, next, requests } = await setUp(
    { attachment },
    { attachment: { attachId: ATTACH_ID, boot: 'boot 2' } },
  );
  let asked = 0;
  records.unreported = () => Promise.resolve(asked++ === 0 ? ['c'] : []);
  const known = { ...SET, epoch: 9, writer: 'f'.repeat(32) };
  const wanted = { ...SET, epoch: 10, writer: 'a'.repeat(32) };
  const transactions = [{ uuid: record.id, expected: known, next: wanted }];
  const outcomes = () =>
    calls.filter(({ name }) => name === 'head.outcome').map(({ args }) => args['kind']);
  next({ transactions });
  next({ transactions });
  requests.start();
  await until(() => outcomes().length === 2);
  requests.stop();
  assert.deepEqual(outcomes(), ['unknown', 'committed']);
  assert.equal((await records.set(record.id))?.record.writer, wanted.writer);
});

test('a head is told of the set that somebody else wrote, and of no set of a volume that has none here', async () => {
  const { records, record, calls, keeper } = await setUp(
    { attachment },
    { attachment: { attachId: ATTACH_ID, boot: 'boot 2' } },
  );
  await keeper.onSet(record.id);
  assert.equal(calls.length, 0);
  await keeper.serve(record, attachment);
  await records.change({ puts: [{ key: 'set/v', record: { ...SET, epoch: 7 } }] });
  await keeper.onSet(record.id);
  const [name, told] = [calls.at(-1)?.name, calls.at(-1)?.args['record'] as JsonObject];
  assert.deepEqual([name, told['epoch']], ['head.record', 7]);
});

test('a head here is told where a replica is whose drive another node has adopted; one elsewhere is not', async () => {
  const { record, calls, keeper } = await setUp(
    { attachment },
    { attachment: { attachId: ATTACH_ID, boot: 'boot 2' } },
  );
  const place = { volume: 'db', volumeId: record.id, drive: 'd', sizeBytes: 4096 };
  const replica = { ...place, id: 'r', node: 'c', state: 'ready' } as const;
  await keeper.onReplica(replica);
  assert.equal(calls.length, 0);
  await keeper.serve(record, attachment);
  await keeper.onReplica({ ...replica, state: 'removing' });
  assert.notEqual(calls.at(-1)?.name, 'head.place');
  await keeper.onReplica(replica);
  assert.deepEqual(calls.at(-1)?.args, { uuid: record.id, replica: 'r', node: 'c' });
});

test('a head that tends a volume ends with that; one with clients, whose attachment the records lost, goes on', async () => {
  const { records, record, calls, keeper } = await setUp(
    {},
    { attachment: { attachId: ATTACH_ID, boot: 'boot 2' } },
  );
  const stored = { key: 'volume/db', volume: record } as const;
  await keeper.endTending(stored, ATTACH_ID);
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['head.status'],
  );
  await keeper.tend(stored, { attachId: ATTACH_ID, isNew: false });
  await records.change({ deletes: ['set/v', 'volume/db'] });
  await keeper.onSet(record.id);
  assert.deepEqual(calls.at(-1)?.args, { uuid: 'v', attachId: ATTACH_ID, force: true });
});
