import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EAGAIN, ECONNREFUSED, EIO } from '../../model/errno.ts';
import { asOfLinux } from '../ffi.ts';
import { errnoOf } from './errno-of.ts';

test("an error has Linux's number by its name, whatever the system calls it", () => {
  // As Node reports them on macOS.
  assert.equal(errnoOf(Object.assign(new Error(), { code: 'EAGAIN', errno: -35 })), EAGAIN);
  assert.equal(
    errnoOf(Object.assign(new Error(), { code: 'ECONNREFUSED', errno: -61 })),
    ECONNREFUSED,
  );
  assert.equal(errnoOf(Object.assign(new Error(), { code: 'EWHAT', errno: -7 })), 7);
  assert.equal(errnoOf(new Error()), EIO);
  assert.equal(errnoOf('EAGAIN', 3), 3);
});

test('the errno of a C call is found by the name that the system has it under', () => {
  const ofMacOs = { EIO: 5, EAGAIN: 35, ECONNREFUSED: 61, EDEADLK: 11 };
  assert.deepEqual(
    [5, 35, 61, 11].map((errno) => asOfLinux(errno, ofMacOs)),
    [EIO, EAGAIN, ECONNREFUSED, EIO],
  );
});
