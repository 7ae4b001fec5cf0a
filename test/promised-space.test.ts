/** What a drive's volumes may come to together: those in the trash count, so that each of them can be restored. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { ProblemView, TrashedView } from '../src/control/schemas.ts';
import { RestDouble } from './rigs/rest-double.ts';

const MIB = 2 ** 20;
let double: RestDouble;

before(async () => {
  double = await RestDouble.start();
});

after(() => double.close());

async function ask(method: 'POST' | 'PATCH' | 'DELETE', url: string, body?: object) {
  const payload = body === undefined ? {} : { payload: body };
  return double.app.inject({ method, url, ...payload });
}

const create = (name: string, mib: number) =>
  ask('POST', '/v1/volumes', { name, sizeBytes: mib * MIB });

test('a volume in the trash keeps what it was promised, and is restored with it', async () => {
  await ask('POST', '/v1/drives', { name: 'd', sizeBytes: 1024 * MIB, sparse: true });
  await ask('PATCH', '/v1/settings', { overprovisionPercent: 100 });
  await create('a', 512);
  const removed = (await ask('DELETE', '/v1/volumes/a')).json<{ trash: TrashedView }>();
  const refused = await create('b', 900);
  assert.equal(refused.statusCode, 409);
  const { code, detail } = refused.json<ProblemView>();
  assert.equal(code, 'DRIVE_PROMISED');
  assert.match(detail, /those of it in the trash, would have 1.38 GiB together/);
  assert.equal((await create('b', 512)).statusCode, 200);
  const restored = await ask('POST', `/v1/trash/${removed.trash.id}/restore`);
  assert.equal(restored.statusCode, 200, restored.body);
  assert.equal((await create('c', 1)).statusCode, 409);
  await ask('DELETE', '/v1/volumes/a');
  await ask('DELETE', '/v1/trash');
  assert.equal((await create('c', 1)).statusCode, 200);
});
