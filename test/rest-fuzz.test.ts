/** Every route under requests made from its schema, whether clients stay or go: 2xx, or problem details that have changed nothing. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';

import { Check } from 'typebox/schema';

import type { ProblemView } from '../src/control/schemas.ts';
import { Prng } from '../src/lib/prng.ts';
import { isErrorCode } from '../src/model/errors.ts';
import { OPENAPI_FILE } from '../tools/openapi.ts';
import { RestDouble } from './rigs/rest-double.ts';
import {
  type Schema,
  bodyText,
  mutated,
  queryText,
  segmentFor,
  valueFor,
} from './rigs/schema-fuzz.ts';

const CASES = Number(process.env['HOLDFAST_FUZZ_CASES'] ?? 3000);
const SEED = Number(process.env['HOLDFAST_FUZZ_SEED'] ?? 1);

/** One request in so many is left by its client, and comes again with its key. */
const LEFT_EVERY = 25;
const LEFT_MS_MAX = 4;
/** On a machine that is busy with other tests. */
const CASE_MS = 30;

/** A watch that was begun is over at once. */
const WATCH_MS = 20;

type Route = {
  readonly method: string;
  readonly url: string;
  readonly body: Schema | undefined;
  readonly query: Readonly<Record<string, Schema>>;
  readonly headers: Readonly<Record<string, Schema>>;
  /** Of an answer of success, by its status. */
  readonly answers: ReadonlyMap<number, Schema>;
  /** It does not come to an end by itself. */
  readonly isStream: boolean;
};

type Described = {
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: Schema }>> };
  readonly parameters?: readonly {
    readonly in: string;
    readonly name: string;
    readonly schema: Schema;
  }[];
  readonly responses: Readonly<
    Record<string, { content?: Readonly<Record<string, { schema: Schema }>> }>
  >;
};

type FuzzRequest = {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload?: string;
  readonly isStream?: boolean;
};

let socketPath: string;
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
  socketPath = path.join(double.directory, 'api.sock');
  await double.app.listen({ path: socketPath });
});

after(() => double.close());

function answersOf(responses: Described['responses']): Map<number, Schema> {
  return new Map(
    Object.entries(responses).flatMap(([status, { content }]) => {
      const schema = content?.['application/json']?.schema;
      return schema === undefined ? [] : [[Number(status), withoutMore(schema)]];
    }),
  );
}

/** A schema with each object of which says all that the object has. */
function withoutMore(schema: Schema): Schema {
  const text = JSON.stringify(schema, (_, value: unknown) =>
    typeof value === 'object' && value !== null && 'properties' in value
      ? { additionalProperties: false, ...value }
      : value,
  );
  return JSON.parse(text) as Schema;
}

/** The routes as the document describes them. */
function routes(): Route[] {
  const { paths } = JSON.parse(readFileSync(OPENAPI_FILE, 'utf8')) as {
    paths: Record<string, Record<string, Described>>;
  };
  return Object.entries(paths).flatMap(([url, methods]) =>
    Object.entries(methods).map(([method, { requestBody, parameters = [], responses }]) => {
      const schemas = (where: string): Record<string, Schema> =>
        Object.fromEntries(
          parameters.filter((each) => each.in === where).map(({ name, schema }) => [name, schema]),
        );
      return {
        method: method.toUpperCase(),
        url,
        body: requestBody?.content['application/json']?.schema,
        query: schemas('query'),
        headers: schemas('header'),
        answers: answersOf(responses),
        isStream: responses['200']?.content?.['text/event-stream'] !== undefined,
      };
    }),
  );
}

function requestFor(prng: Prng, route: Route): FuzzRequest {
  const { method, isStream } = route;
  const segments = route.url.replaceAll(/\{\w+\}/g, () => segmentFor(prng));
  const query = queryText(prng, route.query);
  const url = query === '' ? segments : `${segments}?${query}`;
  const headers: Record<string, string> = {};
  // Seldom, and each time another one: a key that comes again is a request that is not carried out again.
  for (const name of Object.keys(route.headers)) {
    const good = name === 'prefer' ? 'respond-async, wait=9' : `k${prng.below(1e6)}`;
    if (prng.below(6) === 0) headers[name] = prng.below(2) === 0 ? good : 'a b';
  }
  if (route.body === undefined) return { method, url, headers, isStream };
  const value = valueFor(prng, route.body);
  const payload = bodyText(prng, prng.below(3) === 0 ? mutated(prng, value) : value);
  return { method, url, payload, headers: { ...headers, 'content-type': 'application/json' } };
}

type Answer = {
  readonly statusCode: number;
  readonly payload: string;
  readonly headers: Readonly<Record<string, unknown>>;
  // As light-my-request has it.
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters
  json<T>(): T;
};

const JSON_HEADERS = { 'content-type': 'application/json' };

async function inject(
  request: Omit<FuzzRequest, 'headers'> & { headers?: object },
): Promise<Answer> {
  const { method, url, payload } = request;
  const headers = request.headers ?? (payload === undefined ? {} : JSON_HEADERS);
  const answer = double.app.inject({
    method: method as 'GET',
    url,
    headers: headers as Record<string, string>,
    ...(payload === undefined ? {} : { payload }),
    ...(request.isStream === true ? { signal: AbortSignal.timeout(WATCH_MS) } : {}),
  });
  try {
    return await answer;
  } catch (error) {
    // It was begun, and would go on for ever.
    if (request.isStream !== true) throw error;
    return { statusCode: 200, payload: '', headers: {}, json: () => assert.fail('no JSON') };
  }
}

/** Sends the request, and closes the connection `afterMs` after it was received. Resolves when the server knows that. */
async function leave({ method, url, headers, payload }: FuzzRequest, afterMs: number) {
  const sent = http.request({ socketPath, method, path: url, headers });
  const received = once(double.app.server, 'request');
  sent.on('error', () => undefined).on('response', (answer) => answer.resume());
  sent.end(payload);
  const [, response] = (await received) as [unknown, http.ServerResponse];
  const closed = response.closed ? undefined : once(response, 'close');
  setTimeout(() => sent.destroy(), afterMs);
  await closed;
}

/** A refused attach uses an epoch up: the engine has seen it. */
const withoutEpochs = (state: string): string => state.replaceAll(/"epoch":\d+/g, '');

test(
  `${CASES} requests made from the schemas, seed ${SEED}`,
  { timeout: 60_000 + CASES * CASE_MS },
  async () => {
    const all = routes();
    const prng = new Prng(SEED);
    const statuses = new Map<string, number>();
    for (let index = 0; index < CASES; index += 1) {
      const route = all[prng.below(all.length)]!;
      let request = requestFor(prng, route);
      const known = await double.state();
      if (route.method !== 'GET' && prng.below(LEFT_EVERY) === 0) {
        request = {
          ...request,
          headers: { ...request.headers, 'idempotency-key': `left-${index}` },
        };
        await leave(request, prng.below(LEFT_MS_MAX));
      }
      const answer = await inject(request);
      const what = `case ${index}: ${JSON.stringify(request).slice(0, 2000)} -> ${answer.statusCode} ${answer.payload}`;
      const key = `${route.method} ${route.url} ${answer.statusCode < 300 ? 2 : 4}`;
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
      if (answer.statusCode < 300) {
        const schema = route.answers.get(answer.statusCode);
        if (schema !== undefined) assert.ok(Check(schema, answer.json()), what);
        continue;
      }
      assert.match(String(answer.headers['content-type']), /^application\/problem\+json/, what);
      const problem = JSON.parse(answer.payload) as ProblemView;
      // The machine has no room for a drive of that size: no other 5xx has a reason here.
      const isShort = problem.code === 'SPACE_SHORT' && route.url === '/v1/drives';
      assert.ok(answer.statusCode < 500 || isShort, what);
      assert.equal(problem.status, answer.statusCode, what);
      assert.ok(isErrorCode(problem.code), what);
      const seen = problem.code === 'ATTACHER_REFUSED' ? withoutEpochs : (text: string) => text;
      assert.equal(seen(await double.state()), seen(known), what);
    }
    for (const { method, url } of all) {
      const done = statuses.get(`${method} ${url} 2`) ?? 0;
      // The double has no block devices, so nothing is ever mounted, no files of drives that could grow, no nodes with replicas or with drives that others could have, and it makes no operation's id that the fuzz could guess.
      const never =
        (method === 'PUT' && url.endsWith('/mount')) ||
        (method === 'PATCH' && url.startsWith('/v1/drives/')) ||
        (method !== 'DELETE' && url.startsWith('/v1/nodes/')) ||
        /^\/v1\/drives\/.*(adopt|replace)$/.test(url) ||
        url.includes('/replicas') ||
        url.endsWith('/scrub') ||
        url === '/v1/what-if' ||
        url.endsWith('/placement') ||
        /\/(trim|restore|\{id\})$/.test(url);
      if (!never) assert.ok(done > 0, `${method} ${url} succeeded now and then`);
    }
  },
);

test('the same create twice is one result, a differing one is refused', async () => {
  const drive = {
    method: 'POST',
    url: '/v1/drives',
    payload: '{"name":"d","sizeBytes":67108864,"sparse":true}',
  };
  assert.equal((await inject(drive)).statusCode, 200);
  const volume = {
    method: 'POST',
    url: '/v1/volumes',
    payload: '{"name":"v","sizeBytes":4096,"drive":"d"}',
  };
  const first = await inject(volume);
  const state = await double.state();
  const second = await inject(volume);
  assert.equal(second.statusCode, 200);
  assert.deepEqual(second.json(), first.json());
  assert.equal((await inject(drive)).statusCode, 200);
  for (const payload of [
    '{"name":"v","sizeBytes":8192}',
    '{"name":"v","sizeBytes":4096,"drive":"e"}',
  ]) {
    const refused = await inject({ ...volume, payload });
    assert.equal(refused.statusCode, 409);
    assert.equal(refused.json<ProblemView>().code, 'VOLUME_EXISTS');
  }
  const refused = await inject({ ...drive, payload: '{"name":"d","sizeBytes":134217728}' });
  assert.equal(refused.json<ProblemView>().code, 'DRIVE_EXISTS');
  assert.equal(await double.state(), state);
});

test('of two equal creates at once both get the one volume', async () => {
  const volume = {
    method: 'POST',
    url: '/v1/volumes',
    payload: '{"name":"w","sizeBytes":4096,"drive":"d"}',
  };
  const [first, second] = await Promise.all([inject(volume), inject(volume)]);
  assert.equal(first.statusCode, 200);
  assert.deepEqual(first.json(), second.json());
});

test('a drive is not removed under a volume that is being created on it', async () => {
  for (let round = 0; round < 20; round += 1) {
    const add = '{"name":"race","sizeBytes":67108864,"sparse":true}';
    await inject({ method: 'POST', url: '/v1/drives', payload: add });
    const create = {
      method: 'POST',
      url: '/v1/volumes',
      payload: '{"name":"r","sizeBytes":4096,"drive":"race"}',
    };
    const [created, removed] = await Promise.all([
      inject(create),
      inject({ method: 'DELETE', url: '/v1/drives/race' }),
    ]);
    assert.ok(
      created.statusCode !== 200 || removed.statusCode !== 200,
      `both succeeded: ${created.payload} ${removed.payload}`,
    );
    await inject({ method: 'DELETE', url: '/v1/volumes/r?now=true' });
  }
});
