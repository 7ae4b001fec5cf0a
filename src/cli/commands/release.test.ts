import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { ReleasedView } from '../../control/schemas.ts';
import type { Context } from '../context.ts';
import { release } from './release.ts';

/** What control answers, one after the other, and what it is asked and the user told. */
function context(answers: Partial<ReleasedView>[]) {
  const said: string[] = [];
  const api = {
    post: async (path: string) => {
      said.push(`POST ${path}`);
      return answers.shift();
    },
    delete: async (path: string) => void said.push(`DELETE ${path}`),
  };
  const output = { note: (text: string) => void said.push(text) };
  // The rest is not used.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { said, context: { api, output } as unknown as Context };
}

const stalled = [{ volume: 'db', reason: 'I/O stands still' }];

test('what stands still is refused without force, and nothing is detached', async () => {
  const rig = context([{ problems: ['volume "db"'], stalled }]);
  await assert.rejects(release(rig.context), { code: 'VOLUME_STALLED' });
  assert.deepEqual(rig.said, ['POST /v1/release']);
});

test('force detaches what stands still, says so, and releases the rest', async () => {
  const rig = context([{ problems: ['volume "db"'], stalled }, { problems: ['it is used'] }]);
  assert.deepEqual(await release(rig.context, { force: true }), ['it is used']);
  assert.deepEqual(rig.said, [
    'POST /v1/release',
    'Detaching volume "db" by force: I/O stands still',
    'DELETE /v1/volumes/db/attachment?force=true',
    'POST /v1/release',
  ]);
});
