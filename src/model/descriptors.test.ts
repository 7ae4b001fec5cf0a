import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withoutDescriptors } from './descriptors.ts';
import { EACCES, EMFILE, ENFILE, ErrnoError } from './errno.ts';
import { errorRow } from './errors.ts';

test('an error that means too few file descriptors is one refusal, to be tried again later; others are none', () => {
  const ofNode = Object.assign(new Error('EMFILE'), { errno: -EMFILE, code: 'EMFILE' });
  const ours = new ErrnoError({ errno: ENFILE, syscall: 'bind', path: '/x' });
  for (const error of [ofNode, ours]) {
    const refusal = withoutDescriptors(error, 'engine');
    assert.equal(refusal?.code, 'DESCRIPTORS_EXHAUSTED');
    assert.match(refusal.message, /the engine .*too many open files/);
  }
  const { http, retry } = errorRow('DESCRIPTORS_EXHAUSTED');
  assert.deepEqual([http, retry], [503, 'later']);
  for (const error of [new ErrnoError({ errno: EACCES, syscall: 'bind' }), new Error('x'), null]) {
    assert.equal(withoutDescriptors(error, 'engine'), undefined);
  }
});
