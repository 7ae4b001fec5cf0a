/** What is kept about volumes: whose they are, their labels, when they were used; and lists of them, selected and in pages. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { after, before, test } from 'node:test';

import type { VolumeView } from '../src/control/schemas.ts';
import { CMD_WRITE } from '../src/wire/nbd/constants.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { RestDouble } from './rigs/rest-double.ts';

const GIB = 2 ** 30;
let rig: CliRig;
let double: RestDouble;

before(async () => {
  rig = new CliRig();
  double = await RestDouble.start();
  await ask('POST', '/v1/drives', { name: 'd', sizeBytes: GIB, sparse: true });
  for (const [name, body] of [
    ['a', { owner: { tenant: 'acme', group: 'shop' }, labels: { app: 'shop', prod: '' } }],
    ['b', { owner: { tenant: 'acme' }, labels: { app: 'blog' } }],
    ['c', {}],
  ] as const) {
    await ask('POST', '/v1/volumes', { name, sizeBytes: GIB, ...body });
  }
});

after(async () => {
  await double.close();
  await rig.run(['down']);
  await rig.close();
});

type Answer = { readonly status: number; readonly body: unknown; readonly link: string };

async function ask(method: 'GET' | 'POST' | 'PATCH', url: string, body?: object): Promise<Answer> {
  const answer = await double.app.inject({
    method,
    url,
    headers: { 'user-agent': 'records-test/1' },
    ...(body === undefined ? {} : { payload: body }),
  });
  return {
    status: answer.statusCode,
    body: answer.json(),
    link: String(answer.headers['link'] ?? ''),
  };
}

async function namesOf(query: string): Promise<string[]> {
  const { body, status } = await ask('GET', `/v1/volumes?${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return (body as VolumeView[]).map(({ name }) => name);
}

test('volumes are selected by tenant, labels and how long nobody used them', async () => {
  assert.deepEqual(await namesOf(''), ['a', 'b', 'c']);
  assert.deepEqual(await namesOf('tenant=acme'), ['a', 'b']);
  assert.deepEqual(await namesOf('label=app'), ['a', 'b']);
  assert.deepEqual(await namesOf('label=app%3Dshop&label=prod'), ['a']);
  assert.deepEqual(await namesOf('tenant=other'), []);
  assert.deepEqual(await namesOf('unusedForMs=0'), ['a', 'b', 'c']);
  assert.deepEqual(await namesOf('unusedForMs=600000'), []);
  const { status, body } = await ask('GET', '/v1/volumes?label=%3Dx');
  assert.equal(status, 400);
  assert.match(JSON.stringify(body), /LABEL_INVALID/);
});

test('each page leads to the next, and the last one nowhere', async () => {
  const names: string[] = [];
  let next: string | undefined = '/v1/volumes?limit=1&label=app';
  for (let page = 0; next !== undefined; page++) {
    assert.ok(page < 4, 'it comes to an end');
    const { body, link } = await ask('GET', next);
    names.push(...(body as VolumeView[]).map(({ name }) => name));
    next = /^<([^>]+)>; rel="next"$/.exec(link)?.[1];
  }
  assert.deepEqual(names, ['a', 'b']);
  assert.deepEqual(await namesOf('after=zzz'), []);
});

test('of each volume those fields alone come that were asked for', async () => {
  const { body } = await ask('GET', '/v1/volumes?field=labels&field=name&label=prod');
  assert.deepEqual(body, [{ labels: { app: 'shop', prod: '' }, name: 'a' }]);
  const { link } = await ask('GET', '/v1/volumes?limit=1&field=name&field=id');
  assert.match(link, /field=name&field=id/);
  const refused = await ask('GET', '/v1/volumes?field=password');
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body), /field/);
});

test('a create that names another owner, labels or growth than there is changes and tells nothing', async () => {
  const autoGrow = { stepBytes: GIB, ceilingBytes: 2 * GIB };
  const known = (await ask('GET', '/v1/volumes/a')).body as VolumeView;
  const same = { name: 'a', sizeBytes: GIB };
  for (const [other, says] of [
    [{ owner: { tenant: 'other', group: 'shop' } }, /with another owner/],
    [{ owner: { tenant: 'acme' } }, /with another owner/],
    [{ labels: { app: 'shop' } }, /with other labels/],
    [{ autoGrow }, /with another way to grow/],
  ] as const) {
    const { status, body } = await ask('POST', '/v1/volumes', { ...same, ...other });
    assert.equal(status, 409);
    assert.match(JSON.stringify(body), says);
  }
  const { owner } = known;
  for (const again of [{}, { owner, labels: { prod: '', app: 'shop' } }]) {
    assert.deepEqual((await ask('POST', '/v1/volumes', { ...same, ...again })).body, known);
  }
});

test('an owner is replaced as a whole, labels one by one, and a size alone leaves them', async () => {
  const operations = async (): Promise<unknown> => (await ask('GET', '/v1/operations')).body;
  const earlier = await operations();
  assert.equal((await ask('PATCH', '/v1/volumes/a', { labels: { app: 'shop' } })).status, 200);
  assert.deepEqual(await operations(), earlier, 'what changes nothing is no change');
  const made = (await ask('GET', '/v1/volumes/a')).body as VolumeView;
  assert.deepEqual(made.owner, { tenant: 'acme', group: 'shop' });
  assert.equal(made.createdBy, 'records-test/1');
  await ask('PATCH', '/v1/volumes/a', { sizeBytes: 2 * GIB });
  const { labels } = made;
  assert.ok(Object.hasOwn(labels, 'app'));
  await Promise.all(
    [{ one: '1' }, { two: '2' }, { app: null, gone: null }].map((change) =>
      ask('PATCH', '/v1/volumes/a', { labels: change }),
    ),
  );
  const changed = (await ask('GET', '/v1/volumes/a')).body as VolumeView;
  const { app: _, ...others } = labels;
  assert.deepEqual(changed.labels, { ...others, one: '1', two: '2' });
  assert.deepEqual(changed.owner, made.owner);
  assert.equal(changed.sizeBytes, 2 * GIB);
  const { status } = await ask('PATCH', '/v1/volumes/a', { labels: { 'no key': 'x' } });
  assert.equal(status, 400);
  assert.equal((await ask('PATCH', '/v1/volumes/a', {})).status, 400);
  assert.deepEqual((await ask('GET', '/v1/volumes/a')).body, changed);
});

test(
  'when a volume was attached and written is known after a restart',
  { timeout: 60_000 },
  async () => {
    await rig.up();
    await rig.json(
      'volume',
      'create',
      'v',
      '--size',
      '64MiB',
      '--tenant',
      'acme',
      '--label',
      'x=y',
    );
    const fresh = await rig.json('volume', 'inspect', 'v');
    assert.deepEqual([fresh['lastAttachedAt'], fresh['lastWrittenAt']], [null, null]);
    const { uri } = await rig.json('volume', 'attach', 'v', '--nbd');
    const [, name = '', socket = ''] = /:\/\/\/(\w+)\?socket=(.*)$/.exec(String(uri)) ?? [];
    const client = await NbdRawClient.attach(decodeURIComponent(socket), { name });
    client.request({ type: CMD_WRITE, offset: 0, data: Buffer.alloc(65_536, 1) });
    await client.reply();
    client.destroy();
    const attached = await rig.json('volume', 'inspect', 'v');
    assert.equal(attached['unusedSince'], null);
    await rig.json('volume', 'detach', 'v');
    await rig.json('down');
    await rig.up();
    const used = await rig.json('volume', 'inspect', 'v');
    assert.ok(String(used['lastAttachedAt']) > String(attached['lastAttachedAt']), 'at its detach');
    assert.ok(String(used['lastWrittenAt']) > String(fresh['createdAt']));
    assert.ok(String(used['unusedSince']) >= String(used['lastAttachedAt']));
    assert.equal(used['highWaterBytes'], 65_536);
    const listed = await rig.run(['volume', 'ls', '--unused-for', '0s', '--label', 'x=y']);
    assert.match(listed.out, /^v +64 KiB +\d+ s +acme +holdfast-cli\/\S+ +x=y$/m);
    assert.match(listed.out, /1 volumes, 64 KiB reclaimable/);
  },
);
