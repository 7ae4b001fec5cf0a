import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { until } from '../../test/rigs/attach-rig.ts';
import { drivePartsOf, memoryRecords } from '../../test/rigs/memory-records.ts';
import { Fault, Refusal } from '../model/errors.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { replacementProgress } from './drive-replacement.ts';
import { Drives } from './drives.ts';
import { endInterrupted } from './operations.ts';

const GIB = 2 ** 30;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-replacement-'));
after(() => fs.rmSync(directory, { recursive: true }));

/** Node a with drives a1, which has replicas r1 and r2, and a9; node b with b1. An engine that does what it is told. */
async function setUp() {
  const { records } = memoryRecords();
  const open = new Map<string, JsonObject>([['id-a1', { driveId: 'id-a1', sizeBytes: GIB }]]);
  const call = async (name: string, { driveId }: JsonObject): Promise<JsonObject> => {
    const id = String(driveId);
    if (name === 'drive.open') open.set(id, { driveId: id });
    if (name === 'drive.close') open.delete(id);
    return { drives: [...open.values()] };
  };
  const parts = drivePartsOf(directory, records, call);
  const drive = (name: string, node: string) => ({
    key: `drive/${name}`,
    record: { name, node, id: `id-${name}`, path: `/${name}`, sparse: true, state: 'ready' },
  });
  const replica = (id: string) => ({ key: `replica/${id}`, record: { id, drive: 'a1' } });
  await records.change({
    puts: [drive('a1', 'a'), drive('a9', 'a'), drive('b1', 'b'), replica('r1'), replica('r2')],
  });
  return { records, parts, open, drives: new Drives(parts) };
}

const wishOf = (file: string) => ({
  path: path.join(directory, file),
  name: undefined,
  force: false,
});
const refusedAs =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Refusal && error.code === code;

test('a drive is replaced: the new one is added, the replicas leave, the old one goes; whatever is cut short goes on', async () => {
  const { records, parts, open, drives } = await setUp();
  const wish = wishOf('one.img');
  const replaced = drives.replace('a1', wish);
  await until(async () => (await records.drive('a1'))?.record.service === 'draining');
  const added = (await records.drive('a1-2'))?.record;
  assert.deepEqual([added?.state, added?.sizeBytes, added?.path], ['ready', GIB, wish.path]);
  await records.change({ deletes: ['replica/r1'] });
  const [operation] = await records.operations();
  assert(operation !== undefined);
  assert.equal(operation.kind, 'drive.replace');
  const { amount } = (await replacementProgress(records, operation)) ?? {};
  assert.deepEqual(amount, { done: 1, total: 2, unit: 'replicas' });

  // A control that comes after one that was killed.
  const next = new Drives(parts);
  await assert.rejects(next.settle('a1-2'), refusedAs('DRIVE_DRAINING'));
  const waits = new Map([['drive/a1-2', new Refusal('DRIVE_DRAINING')]]);
  await endInterrupted(parts, waits);
  assert.equal((await records.operation(operation.id))?.state, 'running');
  await assert.rejects(drives.replace('a1', wishOf('two.img')), refusedAs('DRIVE_NOT_READY'));

  await records.change({ deletes: ['replica/r2'] });
  await next.settle('a1-2');
  assert.equal(await records.drive('a1'), undefined);
  assert.deepEqual([...open.keys()], [added?.id]);
  assert.equal((await replaced).name, 'a1-2');
  await endInterrupted(parts, new Map());
  assert.equal((await records.operation(operation.id))?.state, 'done');
  assert.equal((await drives.replace('a1', wish)).name, 'a1-2', 'asked for again it is done');
});

test('an old drive that is taken into service again stays beside the new one', async () => {
  const { records, parts, drives } = await setUp();
  const replaced = drives.replace('a1', { ...wishOf('three.img'), name: 'third' });
  await until(async () => (await records.drive('a1'))?.record.service === 'draining');
  await drives.changeService('a1', 'open');
  await assert.rejects(replaced, Fault);
  await records.change({ deletes: ['replica/r1', 'replica/r2'] });
  await new Drives(parts).settle('third');
  assert.equal((await records.drive('a1'))?.record.state, 'ready');
  await endInterrupted(parts, new Map());
  const [operation] = await records
    .operations()
    .then((all) => all.filter(({ kind }) => kind === 'drive.replace'));
  assert.equal(operation?.error?.code, 'OPERATION_UNDONE');
});

test('a drive that failed is replaced by what was put in its place', async () => {
  const { records, drives } = await setUp();
  const wish = wishOf('a1.img');
  const kept = await records.drive('a1');
  assert(kept !== undefined);
  await records.putDrive({ ...kept.record, path: wish.path }, kept.version);
  await records.change({ deletes: ['replica/r1', 'replica/r2'] });
  const { name, path: at } = await drives.replace('a1', wish);
  assert.deepEqual([name, at], ['a1-2', wish.path]);
  assert.equal(await records.drive('a1'), undefined);
});

test('what cannot be replaced is refused before anything is made', async () => {
  const { records, parts, drives } = await setUp();
  const revision = await records.revision();
  await assert.rejects(drives.replace('b1', wishOf('x')), refusedAs('DRIVE_ELSEWHERE'));
  await assert.rejects(drives.replace('a2', wishOf('x')), refusedAs('DRIVE_NOT_FOUND'));
  await assert.rejects(
    drives.replace('a1', { path: '/a9', name: undefined, force: false }),
    refusedAs('DRIVE_PATH_USED'),
  );
  const single = new Drives({ ...parts, node: undefined });
  await assert.rejects(single.replace('a1', wishOf('x')), refusedAs('DRIVE_ELSEWHERE'));
  assert.equal(await records.revision(), revision);
});
