/** Operations over the API: 202 for those who do not wait, one operation for one request, how far it is, and what came of it. */

import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import type { OperationResultView, OperationView } from '../src/control/operation-schemas.ts';
import type { ProblemView } from '../src/control/schemas.ts';
import { fingerprintOf } from '../src/control/request-context.ts';
import { RestDouble } from './rigs/rest-double.ts';
import { until } from './rigs/attach-rig.ts';

const GIB = 2 ** 30;
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
});

after(() => double.close());

/** What is removed now is over by then. */
const LATER = { wallMs: Infinity, passedMs: Infinity, countedMs: Infinity };

type Sent = { readonly prefer?: string; readonly key?: string };

async function add(name: string, { prefer, key }: Sent = {}) {
  return double.app.inject({
    method: 'POST',
    url: '/v1/drives',
    headers: {
      ...(prefer === undefined ? {} : { prefer }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    payload: { name, sizeBytes: GIB, sparse: true },
  });
}

async function operation(id: string): Promise<OperationResultView> {
  return (await double.app.inject(`/v1/operations/${id}`)).json<OperationResultView>();
}

async function ended(id: string): Promise<OperationResultView> {
  await until(async () => (await operation(id)).state !== 'running');
  return operation(id);
}

async function running(): Promise<OperationView[]> {
  return (await double.app.inject('/v1/operations?state=running')).json<OperationView[]>();
}

test('what takes long answers 202 with its operation, which tells how far it is and what came of it', async () => {
  const release = double.holdEngine();
  const answer = await add('slow', { prefer: 'respond-async' });
  assert.equal(answer.statusCode, 202);
  assert.equal(answer.headers['preference-applied'], 'respond-async');
  const { id, state, kind, target } = answer.json<OperationView>();
  assert.equal(answer.headers['location'], `/v1/operations/${id}`);
  assert.deepEqual([state, kind, target], ['running', 'drive.add', 'drive/slow']);
  assert.equal((await operation(id)).result, null);
  assert.deepEqual((await operation(id)).progress, {
    phase: 'formatting it',
    done: null,
    total: null,
    unit: null,
  });
  double.progress.show('drive/slow', 'formatting it', { done: 1, total: 4, unit: 'bytes' });
  assert.deepEqual((await running())[0]?.progress, {
    phase: 'formatting it',
    done: 1,
    total: 4,
    unit: 'bytes',
  });
  const drive = (await double.app.inject('/v1/drives/slow')).json<{ progress: object }>();
  assert.deepEqual(drive.progress, { doneBytes: 1, totalBytes: 4 });
  release();
  const done = await ended(id);
  assert.equal(done.state, 'done');
  assert.equal(done.progress, null);
  const now = (await double.app.inject('/v1/drives/slow')).json<object>();
  assert.deepEqual(done.result, now);
  assert.deepEqual(await running(), []);
});

test('what is quick answers as ever, and so do those who wait', async () => {
  assert.equal((await add('quick', { prefer: 'respond-async, wait=10' })).statusCode, 200);
  assert.equal((await add('quick', { prefer: 'respond-async; wait="10"' })).statusCode, 200);
  const again = await add('quick', { prefer: 'respond-async' });
  assert.ok(again.statusCode === 200 || again.statusCode === 202);
  const release = double.holdEngine();
  const waiting = add('waited', { prefer: 'return=minimal, wait=0' });
  await until(async () => (await running()).length > 0);
  release();
  assert.equal((await waiting).statusCode, 200);
});

test('the same request again finds the operation that carries it out, by itself and by its key', async () => {
  const release = double.holdEngine();
  const first = (await add('one', { prefer: 'respond-async', key: 'k1' })).json<OperationView>();
  const byKey = await add('one', { prefer: 'respond-async', key: 'k1' });
  assert.deepEqual([byKey.statusCode, byKey.json<OperationView>().id], [202, first.id]);
  const byItself = await add('one', { prefer: 'respond-async' });
  assert.deepEqual([byItself.statusCode, byItself.json<OperationView>().id], [202, first.id]);
  release();
  const { result } = await ended(first.id);
  const answer = await add('one', { key: 'k1' });
  assert.equal(answer.statusCode, 200);
  assert.deepEqual(answer.json(), result);
});

test('an operation of a process that died is found by its request too', async () => {
  const record = {
    id: 'of-a-dead-process',
    kind: 'drive.add',
    target: 'drive/two',
    state: 'running' as const,
    startedAtMs: Date.now(),
    request: fingerprintOf('POST', '/v1/drives', { name: 'two', sizeBytes: GIB, sparse: true }),
  };
  await double.records.change({ puts: [{ key: `operation/${record.id}`, record }] });
  const release = double.holdEngine();
  // As the reconciler has it: the drive's turn is taken.
  const holder = add('two', { key: 'holder' });
  await until(async () => (await running()).length > 1);
  const answer = await add('two', { prefer: 'respond-async' });
  assert.equal(answer.statusCode, 202);
  assert.equal(answer.json<OperationView>().target, 'drive/two');
  release();
  await holder;
  await double.records.change({ deletes: [`operation/${record.id}`] });
});

test('a failed operation tells its error and the way out', async () => {
  await add('holder');
  await double.app.inject({
    method: 'POST',
    url: '/v1/volumes',
    payload: { name: 'v', sizeBytes: GIB, drive: 'holder' },
  });
  const refused = await double.app.inject({
    method: 'PUT',
    url: '/v1/volumes/v/attachment',
    headers: { prefer: 'respond-async, wait=60' },
    payload: { as: 'device' },
  });
  assert.equal(refused.json<ProblemView>().code, 'ATTACHER_REFUSED');
  const [newest] = (await double.app.inject('/v1/operations?limit=1')).json<OperationView[]>();
  assert.equal(newest?.state, 'failed');
  assert.equal(newest?.kind, 'volume.attach');
  assert.equal(newest?.error?.code, 'ATTACHER_REFUSED');
  const failed = (await double.app.inject('/v1/operations?state=failed')).json<OperationView[]>();
  assert.ok(failed.every(({ state }) => state === 'failed') && failed.length === 1);
});

/** Makes volumes, removes them, and resolves with their ids in the trash. */
async function thrownAway(...names: readonly string[]): Promise<string[]> {
  for (const name of names) {
    const payload = { name, sizeBytes: 4096, drive: 'holder' };
    await double.app.inject({ method: 'POST', url: '/v1/volumes', payload });
    await double.app.inject({ method: 'DELETE', url: `/v1/volumes/${name}` });
  }
  return (await double.records.trash()).map(({ volume }) => volume.id);
}

function empty(prefer: string) {
  return double.app.inject({ method: 'DELETE', url: '/v1/trash', headers: { prefer } });
}

test('the trash is emptied by one operation, which tells how far it is and how many it removed', async () => {
  await add('holder');
  await thrownAway('x', 'y', 'z');
  const release = double.holdEngine();
  const answer = await empty('respond-async');
  assert.equal(answer.statusCode, 202);
  const { id, kind, progress } = answer.json<OperationView>();
  assert.equal(kind, 'trash.empty');
  assert.deepEqual(progress, { phase: 'removing "z"', done: 0, total: 3, unit: 'volumes' });
  release();
  assert.deepEqual((await ended(id)).result, { purged: 3 });
  assert.deepEqual(await double.records.trash(), []);
  assert.deepEqual((await empty('wait=1')).json(), { purged: 0 });
});

test('a volume that cannot be removed from the trash holds up no other, and is told of', async () => {
  const [, stuck] = await thrownAway('x', 'y', 'z');
  double.stick(stuck);
  const refused = await empty('respond-async, wait=60');
  assert.equal(refused.json<ProblemView>().code, 'ENGINE_REFUSED');
  const [newest] = (await double.app.inject('/v1/operations?limit=1')).json<OperationView[]>();
  assert.deepEqual([newest?.kind, newest?.state], ['trash.empty', 'failed']);
  assert.deepEqual(await thrownAway(), [stuck]);
  double.stick(undefined);
  assert.deepEqual((await empty('wait=1')).json(), { purged: 1 });
});

test('what cannot be removed when its time is over holds up no other, and is one operation', async () => {
  const settings = (trashRetentionMs: number) =>
    double.app.inject({ method: 'PATCH', url: '/v1/settings', payload: { trashRetentionMs } });
  await settings(1);
  const [, stuck = ''] = await thrownAway('x', 'y', 'z');
  double.stick(stuck);
  for (let look = 0; look < 3; look++) await double.trash.purgeExpired(LATER);
  assert.deepEqual(await thrownAway(), [stuck]);
  const purges = (await double.app.inject('/v1/operations')).json<OperationView[]>();
  assert.equal(purges.filter(({ target }) => target === `trash/${stuck}`).length, 1);
  double.stick(undefined);
  await double.trash.purgeExpired(LATER);
  assert.deepEqual(await thrownAway(), []);
  await settings(86_400_000);
});

test('what is removed anew while the purge of another takes its time is kept for its own', async () => {
  const settings = (trashRetentionMs: number) =>
    double.app.inject({ method: 'PATCH', url: '/v1/settings', payload: { trashRetentionMs } });
  await settings(1);
  const [second = ''] = await thrownAway('x');
  await sleep(5);
  await thrownAway('y');
  const release = double.holdEngine();
  const purged = double.trash.purgeExpired(LATER);
  await settings(86_400_000);
  await double.trash.restore(second, undefined);
  await double.app.inject({ method: 'DELETE', url: '/v1/volumes/x' });
  release();
  await purged;
  assert.deepEqual(await thrownAway(), [second]);
  await double.trash.purge(second);
});

test('a trash of more volumes than a transaction takes is emptied by one operation', async () => {
  await thrownAway(...Array.from({ length: 120 }, (_, index) => `many-${index}`));
  assert.deepEqual((await empty('respond-async, wait=60')).json(), { purged: 120 });
  assert.deepEqual(await double.records.trash(), []);
});

test('the list is in order, the newest first', async () => {
  const all = (await double.app.inject('/v1/operations')).json<OperationView[]>();
  assert.ok(all.length > 5);
  const times = all.map(({ startedAt }) => startedAt);
  assert.deepEqual(times, times.toSorted().toReversed());
  assert.equal((await double.app.inject('/v1/operations?state=gone')).statusCode, 400);
  assert.equal((await double.app.inject('/v1/operations?limit=0')).statusCode, 400);
});

test('a watch tells how far operations are, between changes and without an id', async () => {
  const socketPath = path.join(double.directory, 'api.sock');
  await double.app.listen({ path: socketPath });
  let text = '';
  const request = http.get({ socketPath, path: '/v1/watch?kind=operation' }, (answer) =>
    answer.on('data', (chunk: Buffer) => (text += chunk.toString())),
  );
  request.on('error', () => undefined);
  await until(() => text.includes('watching'));
  const release = double.holdEngine();
  const answer = await add('seen', { prefer: 'respond-async' });
  const { id } = answer.json<OperationView>();
  await until(() => text.includes('"phase":"formatting it"'));
  release();
  await ended(id);
  await until(() => text.includes('"state":"done"'));
  const events = text.split('\n\n').filter((event) => event.includes(id));
  for (const shape of [
    /^id: \d+\.\d+\nevent: operation\n.*"state":"running"/,
    /^event: operation\ndata: .*"phase":"formatting it"/,
    /^id: \d+\.\d+\nevent: operation\n.*"state":"done"/,
  ]) {
    assert.equal(events.filter((event) => shape.test(event)).length, 1, text);
  }
  request.destroy();
});
