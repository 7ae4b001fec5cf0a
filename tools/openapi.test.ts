import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { OPENAPI_FILE, openApiText } from './openapi.ts';

test('docs/openapi.json is what the routes are: node tools/openapi.ts --write', async () => {
  assert.equal(readFileSync(OPENAPI_FILE, 'utf8'), await openApiText());
});

test('every route is described, with problem details', async () => {
  const { paths } = JSON.parse(await openApiText()) as {
    paths: Record<string, Record<string, { summary?: string; responses: object }>>;
  };
  assert.equal(Object.keys(paths).length, 33);
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { summary, responses }] of Object.entries(methods)) {
      assert.match(summary ?? '', /^[A-Z]/, `${method} ${path}`);
      const statuses = method === 'get' ? ['200', '4XX', '5XX'] : ['200', '202', '4XX', '5XX'];
      assert.deepEqual(Object.keys(responses), statuses, `${method} ${path}`);
    }
  }
});
