import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Refusal } from './errors.ts';
import { attachId, checkName, epoch, volumeId } from './ids.ts';

test('checkName takes what Docker takes', () => {
  for (const name of ['a', 'db-1', 'project_db.data', 'X9', 'a'.repeat(63)])
    assert.equal(checkName(name), name);
});

test('checkName refuses what could be a path, an option or an id, and says why', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /empty/],
    ['a'.repeat(64), /64 characters/],
    ['.', /begin with/],
    ['..', /begin with/],
    ['-x', /begin with/],
    ['a/b', /only letters/],
    ['a b', /only letters/],
    ['ä', /begin with/],
    ['aä', /only letters/],
    ['a\n', /only letters/],
    ['a\0', /only letters/],
    ['0123456789abcdef0123456789abcdef', /looks like an id/],
    ['01234567-89ab-cdef-0123-456789abcdef', /looks like an id/],
  ];
  for (const [name, problem] of cases) {
    assert.throws(
      () => checkName(name),
      (error: unknown) =>
        error instanceof Refusal && error.code === 'NAME_INVALID' && problem.test(error.message),
      JSON.stringify(name),
    );
  }
});

test('ids are made only from their own shape', () => {
  assert.equal(attachId('0123456789abcdef0123456789abcdef').length, 32);
  assert.throws(() => attachId('0123456789ABCDEF0123456789abcdef'), Refusal);
  assert.throws(() => volumeId('x'), Refusal);
  for (const value of [-1, 1.5, 2 ** 53, Number.NaN]) assert.throws(() => epoch(value), Refusal);
});
