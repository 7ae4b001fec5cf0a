/** The API over TCP: the token opens it, and nothing else does; what is no HTTP is answered by a problem as well. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { keepApiAddress, parseApiAddress } from '../src/control/api-address.ts';
import { findToken, rotateToken } from '../src/control/api-token.ts';
import type { ProblemView } from '../src/control/schemas.ts';
import { TcpApi } from '../src/control/tcp-api.ts';
import { Prng } from '../src/lib/prng.ts';
import { until } from './rigs/attach-rig.ts';
import { RestDouble } from './rigs/rest-double.ts';

const FUZZ_CASES = 600;
let double: RestDouble;
let tcp: TcpApi;
let port: number;

before(async () => {
  double = await RestDouble.start();
  keepApiAddress(double.installation, parseApiAddress('127.0.0.1:0'));
  tcp = new TcpApi({ installation: double.installation, log: double.log });
  await tcp.start(double.app);
  port = Number(tcp.address?.split(':')[1]);
});

after(async () => {
  tcp.stop();
  await double.close();
});

type Answer = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
};

function get(url: string, headers: http.OutgoingHttpHeaders = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: url, headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    request.on('error', reject);
  });
}

const bearer = (token: string): http.OutgoingHttpHeaders => ({ authorization: `Bearer ${token}` });

test('the token is made at first use, for its owner alone', () => {
  const { tokenFile } = double.installation;
  assert.equal(fs.statSync(tokenFile).mode & 0o777, 0o600);
  const token = findToken(double.installation);
  assert.match(token, /^[\w-]{43}$/);
  fs.chmodSync(tokenFile, 0o644);
  assert.equal(findToken(double.installation), token);
  assert.equal(fs.statSync(tokenFile).mode & 0o777, 0o600);
});

test('with the token every route answers, without it none does, whether it is there or not', async () => {
  const token = findToken(double.installation);
  for (const url of ['/v1/status', '/v1/volumes', '/v1/nothing', '/', '/metrics', '/docs']) {
    const refused = await get(url);
    assert.equal(refused.status, 401, url);
    assert.match(String(refused.headers['content-type']), /^application\/problem\+json/);
    assert.equal(refused.headers['www-authenticate'], 'Bearer realm="holdfast"');
    const { code, wayOut } = JSON.parse(refused.text) as ProblemView;
    assert.equal(code, 'TOKEN_REFUSED');
    assert.match(wayOut ?? '', /holdfast token show/);
    assert.notEqual((await get(url, bearer(token))).status, 401, url);
  }
  assert.equal((await get('/v1/status', { authorization: `bearer  ${token} ` })).status, 200);
});

test('a change that comes without the token is not made', async () => {
  const known = await double.state();
  const status = await new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, path: '/v1/drives', method: 'POST' },
      (response) => resolve(response.statusCode),
    );
    request.setHeader('content-type', 'application/json');
    request.on('error', reject).end('{"name":"d","sizeBytes":1073741824,"sparse":true}');
  });
  assert.equal(status, 401);
  assert.equal(await double.state(), known);
});

test('a token that was rotated opens at once, and the one before no longer', async () => {
  const earlier = findToken(double.installation);
  const now = rotateToken(double.installation);
  assert.notEqual(now, earlier);
  assert.equal((await get('/v1/status', bearer(earlier))).status, 401);
  assert.equal((await get('/v1/status', bearer(now))).status, 200);
  assert.equal(fs.statSync(double.installation.tokenFile).mode & 0o777, 0o600);
});

test('a watch tells nothing more once its token was rotated', async () => {
  let text = '';
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const headers = bearer(findToken(double.installation));
  const request = http.get({ host: '127.0.0.1', port, path: '/v1/watch', headers }, (answer) => {
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    answer.on('close', resolve);
  });
  request.on('error', () => undefined);
  await until(() => text.includes('watching'));
  const tell = (what: string): Promise<number> =>
    double.records.change({
      puts: [{ key: `event/${what}`, record: { id: what, atMs: 1, what } }],
    });
  await tell('before');
  await until(() => text.includes('before'));
  rotateToken(double.installation);
  await tell('after');
  await ended;
  assert.doesNotMatch(text, /after/);
});

test('without its file no token opens anything, not even an empty one', async () => {
  const { tokenFile } = double.installation;
  const token = findToken(double.installation);
  fs.rmSync(tokenFile);
  for (const given of [token, '', '=']) {
    assert.equal((await get('/v1/status', bearer(given))).status, 401, given);
  }
  fs.writeFileSync(tokenFile, '');
  assert.equal((await get('/v1/status', bearer(''))).status, 401);
  fs.writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
  assert.equal((await get('/v1/status', bearer(token))).status, 200);
});

/** Sends bytes as they are; resolves with the status line that comes back, or with nothing where the connection just ends. */
function sendRaw(bytes: Buffer): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port });
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text });
    });
    socket.write(bytes);
  });
}

const pick = <T>(prng: Prng, values: readonly T[]): T => values[prng.below(values.length)]!;

/** An Authorization header that is nearly right, but never is. */
function nearly(prng: Prng, token: string): string {
  const at = prng.below(token.length);
  const other = token[at] === 'A' ? 'B' : 'A';
  const wrong = pick(prng, [
    token.slice(0, at) + other + token.slice(at + 1),
    token.slice(0, at),
    token + other,
    token.toUpperCase(),
    `${token.slice(0, at)} ${token.slice(at)}`,
    `${token},${token}`,
    `"${token}"`,
    token.split('').toReversed().join(''),
    '',
    'x'.repeat(prng.below(5000)),
    `${token}\t${token}`,
    `${token}\u00e4`,
  ]);
  const scheme = pick(prng, ['Bearer', 'bearer', 'Basic', 'Token', '', 'Bearer Bearer', 'BearerX']);
  const name = pick(prng, ['Authorization', 'authorization', 'Proxy-Authorization', 'Cookie']);
  const isRight = wrong === '' || prng.below(4) > 0;
  // The true token too, in a place or under a scheme that does not count.
  const misplaced = pick(prng, [
    `X-${name}: Bearer ${token}`,
    `Authorization: Basic ${token}`,
    `Authorization: ${token}`,
    `Proxy-Authorization: Bearer ${token}`,
    `Authorization : Bearer ${token}`,
    ` Authorization: Bearer ${token}`,
  ]);
  return isRight ? `${name}: ${scheme} ${wrong}` : misplaced;
}

test(`${FUZZ_CASES} headers that are nearly right open nothing`, { timeout: 60_000 }, async () => {
  const token = findToken(double.installation);
  const prng = new Prng(7);
  const statuses = new Map<number, number>();
  for (let index = 0; index < FUZZ_CASES; index++) {
    const header = nearly(prng, token);
    const more = prng.below(5) === 0 ? `${nearly(prng, token)}\r\n` : '';
    const text = `GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${more}${header}\r\n\r\n`;
    const answer = await sendRaw(Buffer.from(text, 'latin1'));
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    // 400: it is no HTTP.
    assert.ok([400, 401].includes(answer.status), `${header}: ${answer.text.slice(0, 200)}`);
    assert.match(answer.text, /application\/problem\+json/, header);
    assert.ok(!answer.text.includes(token), 'the token is not repeated');
  }
  assert.ok((statuses.get(401) ?? 0) > FUZZ_CASES / 2);
  const right = `GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  assert.equal((await sendRaw(Buffer.from(right))).status, 200, 'the same with it is let in');
});

test('what is no HTTP, and what has no such method, is told so by a problem', async () => {
  for (const text of [
    'BREW /v1/status HTTP/1.1\r\nHost: x\r\n\r\n',
    'hello\r\n\r\n',
    'GET /v1/status HTTP/9.9\r\n\r\n',
    `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`,
    'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n',
  ]) {
    const { status, text: answer } = await sendRaw(Buffer.from(text));
    assert.equal(status, 400, text.slice(0, 60));
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    assert.match(head, /content-type: application\/problem\+json/);
    assert.equal((JSON.parse(body) as ProblemView).code, 'INPUT_INVALID');
  }
});

test('refused requests are logged as a number, and the token never is', () => {
  const log = JSON.stringify(double.logged);
  const lines = double.logged.filter(({ event }) => event === 'api.token_refused');
  assert.equal(lines.length, 1, 'hundreds of them are one line');
  assert.ok(!log.includes(findToken(double.installation)));
});

test(
  'a port that is taken is told of, and taken when it is free',
  { timeout: 20_000 },
  async () => {
    const holder = net.createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', () => resolve()));
    const { port: taken } = holder.address() as net.AddressInfo;
    keepApiAddress(double.installation, parseApiAddress(`127.0.0.1:${taken}`));
    const late = new TcpApi({ installation: double.installation, log: double.log });
    await late.start(double.app);
    assert.equal(late.address, undefined);
    assert.match(late.problem ?? '', /EADDRINUSE/);
    await new Promise<void>((resolve) => holder.close(() => resolve()));
    await until(() => late.address === `127.0.0.1:${taken}`);
    assert.equal(late.problem, undefined);
    late.stop();
  },
);
