/** Idempotency keys: a request that is repeated is carried out once. test/control-kill.test.ts kills control in one. */

import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import type { OperationView } from '../src/control/operation-schemas.ts';
import type { VolumeView } from '../src/control/schemas.ts';
import { fingerprintOf } from '../src/control/request-context.ts';
import type { OperationRecord } from '../src/model/records.ts';
import { until } from './rigs/attach-rig.ts';
import { RestDouble } from './rigs/rest-double.ts';

const GIB = 2 ** 30;
const VOLUME = { name: 'v', sizeBytes: GIB };
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
  await send('POST', '/v1/drives', { body: { name: 'd', sizeBytes: GIB, sparse: true } });
});

beforeEach(async () => {
  await send('DELETE', '/v1/volumes/v?now=true');
});

after(() => double.close());

type Answer = { readonly status: number; readonly text: string; readonly isRepeated: boolean };

async function send(
  method: 'POST' | 'DELETE' | 'GET',
  url: string,
  { key, body }: { readonly key?: string; readonly body?: object } = {},
): Promise<Answer> {
  const answer = await double.app.inject({
    method,
    url,
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
    ...(body === undefined ? {} : { payload: body }),
  });
  return {
    status: answer.statusCode,
    text: answer.body,
    isRepeated: answer.headers['idempotent-replayed'] === 'true',
  };
}

const idOf = ({ text }: Answer): string => (JSON.parse(text) as VolumeView).id;

async function removalCount(): Promise<number> {
  const operations = await double.records.operations();
  return operations.filter(({ kind }) => kind === 'volume.remove').length;
}

test('the same request with the same key has the answer of the first, whatever happened since', async () => {
  const first = await send('POST', '/v1/volumes', { key: 'k1', body: VOLUME });
  const again = await send('POST', '/v1/volumes', { key: 'k1', body: VOLUME });
  assert.deepEqual(again, { ...first, isRepeated: true });
  await send('DELETE', '/v1/volumes/v?now=true', { key: 'k2' });
  assert.deepEqual(await send('POST', '/v1/volumes', { key: 'k1', body: VOLUME }), again);
  assert.equal((await send('GET', '/v1/volumes/v')).status, 404, 'it was not made again');
  const other = await send('POST', '/v1/volumes', { key: 'k3', body: VOLUME });
  assert.notEqual(idOf(other), idOf(first));
  const removal = await send('DELETE', '/v1/volumes/v?now=true', { key: 'k2' });
  assert.deepEqual([removal.text, removal.isRepeated], ['{"removed":true,"trash":null}', true]);
  assert.equal((await send('GET', '/v1/volumes/v')).status, 200, 'the other volume is there');
});

test('a key of another request is refused, and one that is none', async () => {
  await send('POST', '/v1/volumes', { key: 'k4', body: VOLUME });
  for (const [url, body] of [
    ['/v1/volumes', { ...VOLUME, sizeBytes: 2 * GIB }],
    ['/v1/drives', VOLUME],
  ] as const) {
    const { status, text } = await send('POST', url, { key: 'k4', body });
    assert.equal(status, 409);
    assert.match(text, /KEY_REUSED/);
  }
  for (const key of ['', 'a b', 'k'.repeat(256)]) {
    assert.equal((await send('POST', '/v1/volumes', { key, body: VOLUME })).status, 400, key);
  }
});

test('a refusal uses up no key', async () => {
  const tooSmall = { ...VOLUME, drive: 'none' };
  assert.equal((await send('POST', '/v1/volumes', { key: 'k5', body: tooSmall })).status, 404);
  assert.equal((await send('POST', '/v1/volumes', { key: 'k5', body: VOLUME })).status, 200);
});

test('requests at once with one key are one', async () => {
  await send('POST', '/v1/volumes', { body: VOLUME });
  const earlier = await removalCount();
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => send('DELETE', '/v1/volumes/v?now=true', { key: 'k6' })),
  );
  assert.equal(answers.filter(({ text }) => text === '{"removed":true,"trash":null}').length, 8);
  assert.equal(answers.filter(({ isRepeated }) => isRepeated).length, 7);
  assert.equal((await removalCount()) - earlier, 1);
});

/** Asks for a drive with a key, over a connection of its own. */
function ask(name: string, headers: Readonly<Record<string, string>>): http.ClientRequest {
  const request = http.request({
    socketPath: path.join(double.directory, 'api.sock'),
    method: 'POST',
    path: '/v1/drives',
    headers: { 'content-type': 'application/json', ...headers },
  });
  request.on('error', () => undefined);
  request.end(JSON.stringify({ name, sizeBytes: GIB, sparse: true }));
  return request;
}

const runningCount = async (): Promise<number> =>
  (await double.records.operations()).filter(({ state }) => state === 'running').length;

test('a request whose client went away is carried out, and its key is free for the next', async () => {
  await double.app.listen({ path: path.join(double.directory, 'api.sock') });
  const body = { name: 'left', sizeBytes: GIB, sparse: true };
  const release = double.holdEngine();
  const impatient = ask('left', { 'idempotency-key': 'k9' });
  await until(async () => (await runningCount()) > 0);
  impatient.destroy();
  const patient = send('POST', '/v1/drives', { key: 'k9', body });
  const other = await send('POST', '/v1/drives', { key: 'k9', body: { ...body, name: 'other' } });
  assert.match(other.text, /KEY_REUSED/);
  release();
  const first = await patient;
  assert.deepEqual([first.status, first.isRepeated], [200, true]);
  assert.deepEqual(await send('POST', '/v1/drives', { key: 'k9', body }), first);
});

test('a request with a key and respond-async finds the operation of one that waits', async () => {
  const release = double.holdEngine();
  ask('awaited', { 'idempotency-key': 'k10' });
  await until(async () => (await runningCount()) > 0);
  const answer = await double.app.inject({
    method: 'POST',
    url: '/v1/drives',
    headers: { 'idempotency-key': 'k10', prefer: 'respond-async' },
    payload: { name: 'awaited', sizeBytes: GIB, sparse: true },
  });
  assert.equal(answer.statusCode, 202);
  assert.equal(answer.json<OperationView>().target, 'drive/awaited');
  release();
  await until(async () => (await runningCount()) === 0);
});

test('a request whose process died before its answer waits for its operation', async () => {
  const operation: OperationRecord = {
    id: 'of-a-dead-process',
    kind: 'volume.remove',
    target: 'volume/v',
    state: 'running',
    startedAtMs: Date.now(),
    endedAtMs: undefined,
    error: undefined,
  };
  const put = (state: OperationRecord['state']): Promise<number> =>
    double.records.change({
      puts: [{ key: `operation/${operation.id}`, record: { ...operation, state } }],
    });
  await put('running');
  const record = {
    key: 'k7',
    fingerprint: fingerprintOf('DELETE', '/v1/volumes/v?now=true', undefined),
    atMs: Date.now(),
    operationId: operation.id,
  };
  await double.records.change({ puts: [{ key: 'request/k7', record }] });
  await send('POST', '/v1/volumes', { body: VOLUME });
  const waiting = send('DELETE', '/v1/volumes/v?now=true', { key: 'k7' });
  setTimeout(() => void put('done'), 150);
  assert.equal((await waiting).text, '{"removed":true,"trash":null}');
  assert.equal((await send('GET', '/v1/volumes/v')).status, 200, 'it is not removed once more');
  assert.ok((await send('DELETE', '/v1/volumes/v?now=true', { key: 'k7' })).isRepeated);
});

test('a key is forgotten after a day', async () => {
  await send('POST', '/v1/volumes', { key: 'k8', body: VOLUME });
  await double.records.trim(Date.now() + 23 * 3_600_000);
  assert.ok(await double.records.request('k8'));
  await double.records.trim(Date.now() + 25 * 3_600_000);
  assert.equal(await double.records.request('k8'), undefined);
});
