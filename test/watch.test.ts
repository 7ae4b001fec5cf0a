/** Changes as server-sent events: all of them, in order, from any that was seen before. */

import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { RestDouble } from './rigs/rest-double.ts';

const GIB = 2 ** 30;
/** More than the store's history has. */
const MANY_REVISIONS = 10_300;
let socketPath: string;
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
  socketPath = path.join(double.directory, 'api.sock');
  await double.app.listen({ path: socketPath });
  await send('POST', '/v1/drives', { name: 'd', sizeBytes: GIB, sparse: true });
});

after(() => double.close());

async function send(method: 'POST' | 'DELETE', url: string, body?: object): Promise<void> {
  const answer = await double.app.inject({
    method,
    url,
    ...(body === undefined ? {} : { payload: body }),
  });
  assert.equal(answer.statusCode, 200, answer.body);
}

type Heard = { readonly id: string; readonly kind: string; readonly text: string };

/** A client of the watch. */
class Watcher {
  readonly #request: http.ClientRequest;
  readonly #answered: Promise<http.IncomingMessage>;
  readonly ended: Promise<void>;
  text = '';

  constructor(options: { readonly query?: string; readonly after?: string } = {}) {
    const { query = '', after: id } = options;
    const headers = id === undefined ? {} : { 'last-event-id': id };
    const url = `/v1/watch${query}`;
    this.#request = http.get({ socketPath, path: url, headers });
    this.#answered = new Promise((resolve, reject) => {
      this.#request.once('response', resolve).once('error', reject);
    });
    this.ended = this.#answered.then(async (answer) => {
      for await (const chunk of answer) this.text += String(chunk);
    });
    this.ended.catch(() => undefined);
  }

  async status(): Promise<number> {
    return (await this.#answered).statusCode ?? 0;
  }

  get heard(): Heard[] {
    return [...this.text.matchAll(/^id: (.*)\nevent: (.*)\ndata: (.*)$/gm)].map(
      ([, id = '', kind = '', text = '']) => ({ id, kind, text }),
    );
  }

  async until(isSo: (heard: readonly Heard[]) => boolean): Promise<readonly Heard[]> {
    for (let tries = 0; !isSo(this.heard); tries++) {
      assert.ok(tries < 500, `it is heard in time: ${this.text}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return this.heard;
  }

  close(): void {
    this.#request.destroy();
  }
}

const isGone = ({ kind, text }: Heard): boolean =>
  kind === 'volume' && text === '{"name":"v","object":null}';

test('a watcher hears of each change once, and goes on after any of them', async () => {
  const watcher = new Watcher();
  assert.equal(await watcher.status(), 200);
  await send('POST', '/v1/volumes', { name: 'v', sizeBytes: GIB });
  await send('DELETE', '/v1/volumes/v?now=true');
  const all = await watcher.until(
    (heard) => heard.some(isGone) && heard.at(-1)?.kind === 'operation',
  );
  const kinds = all.filter(({ kind }) => kind !== 'drive').map(({ kind }) => kind);
  assert.deepEqual(kinds.toSorted(), [
    ...Array.from({ length: 4 }, () => 'operation'),
    ...Array.from({ length: 4 }, () => 'volume'),
  ]);
  assert.match(all.find(({ kind }) => kind === 'operation')?.text ?? '', /"volume.create"/);
  assert.ok(
    all.some(({ id }) => id.endsWith('.3')),
    'some changes were made at one instant',
  );
  for (const [at, { id }] of all.entries()) {
    const resumed = new Watcher({ after: id });
    const rest = await resumed.until((heard) => heard.length >= all.length - 1 - at);
    assert.deepEqual(
      rest.map((each) => each.id),
      all.slice(at + 1).map((each) => each.id),
    );
    resumed.close();
  }
  watcher.close();
});

test('kinds are chosen; what is no kind and no id is refused', async () => {
  const watcher = new Watcher({ query: '?kind=volume' });
  await watcher.status();
  await send('POST', '/v1/volumes', { name: 'v', sizeBytes: GIB });
  await send('DELETE', '/v1/volumes/v?now=true');
  const heard = await watcher.until((all) => all.some(isGone));
  assert.ok(heard.every(({ kind }) => kind === 'volume'));
  watcher.close();
  for (const wrong of [
    { query: '?kind=usage' },
    { query: '?x=1' },
    { after: 'x' },
    { after: '1' },
  ]) {
    const refused = new Watcher(wrong);
    assert.equal(await refused.status(), 400, JSON.stringify(wrong));
    refused.close();
  }
});

test('a watcher who was away for too long is told so', async () => {
  const { records } = double;
  const revision = await records.revision();
  for (let count = 0; count < MANY_REVISIONS; count++)
    await records.change({ puts: [{ key: 'x', record: {} }] });
  const late = new Watcher({ after: `${revision}.1` });
  assert.equal(await late.status(), 410);
  await late.ended;
  assert.match(late.text, /STORE_COMPACTED/);
});

test('a watcher whose last change is none of this installation yet is told so', async () => {
  const revision = await double.records.revision();
  for (const [last, status] of [
    [`${revision + 1}.0`, 410],
    ['99999999.0', 410],
    [`${revision}.9`, 200],
  ] as const) {
    const watcher = new Watcher({ after: last });
    assert.equal(await watcher.status(), status, last);
    watcher.close();
  }
});

test('the end of control ends the watch', async () => {
  const watcher = new Watcher();
  await watcher.status();
  await double.app.close();
  await watcher.ended;
  assert.match(watcher.text, /: watching/);
});
