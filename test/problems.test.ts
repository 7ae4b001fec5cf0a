/** What is wrong with a request is said by its rule and by what was given, as problem details, wherever it is found. */

import assert from 'node:assert/strict';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { ProblemView } from '../src/control/schemas.ts';
import { RestDouble } from './rigs/rest-double.ts';

let socketPath: string;
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
  socketPath = path.join(double.directory, 'api.sock');
  await double.app.listen({ path: socketPath });
});

after(() => double.close());

type Asked = {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT';
  readonly url?: string;
  readonly body?: string;
};

async function problemOf({ method = 'POST', url = '/v1/volumes', body }: Asked) {
  const answer = await double.app.inject({
    method,
    url,
    ...(body === undefined
      ? {}
      : { payload: body, headers: { 'content-type': 'application/json' } }),
  });
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/, answer.body);
  return answer.json<ProblemView>();
}

const LONG = 'x'.repeat(64);

test('names are refused by their rule, with the name, in bodies and in paths', async () => {
  const size = '"sizeBytes":4096';
  for (const [asked, detail] of [
    [{ body: `{"name":"",${size}}` }, 'Cannot use name "": it is empty'],
    [{ body: `{"name":"a b",${size}}` }, /^Cannot use name "a b": only letters, digits/],
    [
      { body: `{"name":"${LONG}",${size}}` },
      /^Cannot use name "x{64}": it has 64 characters, and at most 63/,
    ],
    [{ body: `{"name":"v","drive":"${LONG}",${size}}` }, /^Cannot use name "x{64}": it has 64/],
    [{ method: 'GET', url: '/v1/volumes/%00' }, /^Cannot use name "\?": it must begin with/],
    [{ method: 'GET', url: `/v1/volumes/${LONG}` }, /^Cannot use name "x{64}": it has 64/],
    [
      { method: 'DELETE', url: `/v1/drives/${'y'.repeat(300)}` },
      /it has 300 characters, and at most 63/,
    ],
  ] as const) {
    const problem = await problemOf(asked);
    assert.equal(problem.code, 'NAME_INVALID', problem.detail);
    assert.equal(problem.status, 400);
    if (typeof detail === 'string') assert.equal(problem.detail, detail);
    else assert.match(problem.detail, detail);
  }
});

test('sizes are refused by their rule, in words', async () => {
  for (const bytes of [0, 1, 4097, 2 ** 53 - 1]) {
    const problem = await problemOf({ body: `{"name":"v","sizeBytes":${bytes}}` });
    assert.equal(problem.code, 'SIZE_INVALID', problem.detail);
    assert.equal(
      problem.detail,
      `Cannot use size "${bytes} bytes": it is no whole number of blocks of 4 KiB, from 4 KiB to 4 PiB`,
    );
  }
});

test('anything else names the field and what it is', async () => {
  for (const [asked, detail] of [
    [{ body: '{"sizeBytes":4096}' }, /: its body .*required.* name/],
    [{ body: '{"name":7,"sizeBytes":4096}' }, /: "name" is 7, and it must be string/],
    [
      { body: '{"name":"v","sizeBytes":"4096"}' },
      /: "sizeBytes" is "4096", and it must be integer/,
    ],
    [
      { body: '{"name":"v","sizeBytes":4096,"labels":{"a":1}}' },
      /: "labels\.a" is 1, and it must be string/,
    ],
    [
      { method: 'GET', url: '/v1/volumes?limit=many' },
      /: "limit" is "many", and it must be integer/,
    ],
    [
      { method: 'GET', url: '/v1/operations?bogus=1' },
      /: there is no "bogus" in its query: it may have state, limit$/,
    ],
    [
      {
        body: '{"name":"v","sizeBytes":4096,"autoGrow":{"stepBytes":4096,"ceilingBytes":4096,"x":1}}',
      },
      /: there is no "autoGrow.x" in its body/,
    ],
    [
      { method: 'GET', url: '/v1/operations?state=foo' },
      /: "state" is "foo", and it must be "running" or "done" or "failed"$/,
    ],
    [{ method: 'GET', url: '/v1/trash/%00' }, /: "id" is "\\u0000", and it must match/],
    [{ body: '{"name":"v",' }, /: .*JSON/],
    [{ body: '' }, /: .*empty/i],
    [
      { body: `{"name":"v","sizeBytes":${'['.repeat(8000)}${']'.repeat(8000)}}` },
      /: "sizeBytes" is nested too deeply, and it must be integer/,
    ],
  ] as const) {
    const problem = await problemOf(asked);
    assert.equal(problem.code, 'INPUT_INVALID', problem.detail);
    assert.match(problem.detail, detail);
  }
});

test('a name is like another that has something of it', async () => {
  await double.app.inject({
    method: 'POST',
    url: '/v1/drives',
    payload: { name: 'ab', sizeBytes: 2 ** 26, sparse: true },
  });
  const hint = async (name: string) =>
    (await problemOf({ method: 'GET', url: `/v1/drives/${name}` })).detail;
  assert.match(await hint('a'), /did you mean "ab"/);
  assert.doesNotMatch(await hint('xy'), /did you mean/);
});

test('a body of which nothing is needed may be left out', async () => {
  const problem = await problemOf({ url: '/v1/trash/x/restore' });
  assert.equal(problem.code, 'TRASH_NOT_FOUND');
});

test('what no route knows is a problem, and so is what HTTP does not know', async () => {
  assert.equal((await problemOf({ method: 'GET', url: '/v2' })).code, 'ROUTE_NOT_FOUND');
  assert.equal((await problemOf({ method: 'PUT', url: '/v1/status' })).code, 'ROUTE_NOT_FOUND');
  assert.equal((await problemOf({ method: 'GET', url: '/v1/volumes/%ff' })).code, 'INPUT_INVALID');
  for (const [text, code] of [
    ['PROPFIND /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 'ROUTE_NOT_FOUND'],
    ['BREW /v1/status HTTP/1.1\r\nHost: x\r\n\r\n', 'INPUT_INVALID'],
    ['what?\r\n\r\n', 'INPUT_INVALID'],
  ] as const) {
    const answer = await new Promise<string>((resolve) => {
      let heard = '';
      const socket = net.connect(socketPath).on('close', () => resolve(heard));
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
      socket.on('error', () => undefined).write(text);
    });
    assert.match(answer, /content-type: application\/problem\+json/, answer);
    assert.equal((JSON.parse(answer.split('\r\n\r\n')[1] ?? '') as ProblemView).code, code);
  }
});
