import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';

import { EIO, ErrnoError } from '../model/errno.ts';
import { writeZeros } from './write-zeros.ts';

const MIB = 2 ** 20;

/** Writes zeros over a drive whose write number `failing` fails. Returns the writes, how many were under way at most, and the failure. */
async function run(failing: number): Promise<{
  writes: { at: number; lengthBytes: number }[];
  deepest: number;
  doneBytes: number;
  failure: unknown;
}> {
  const writes: { at: number; lengthBytes: number }[] = [];
  let [underWay, deepest, doneBytes] = [0, 0, 0];
  const write = async (
    _fd: number,
    at: number,
    { lengthBytes }: { readonly lengthBytes: number },
  ): Promise<void> => {
    writes.push({ at, lengthBytes });
    deepest = Math.max(deepest, ++underWay);
    const isFailing = writes.length === failing;
    await setImmediate();
    underWay -= 1;
    if (isFailing) throw new ErrnoError({ errno: EIO, syscall: 'write' });
  };
  const zeros = { address: 4096, lengthBytes: MIB };
  const onWritten = (bytes: number): void => void (doneBytes += bytes);
  const work = { ioAsync: { write }, fd: 3, zeros, onWritten };
  let failure: unknown;
  await writeZeros(work, { from: 3 * MIB, to: 40 * MIB + 4096 }).catch((error: unknown) => {
    failure = error;
  });
  assert.equal(underWay, 0, 'nothing outlives the call');
  return { writes, deepest, doneBytes, failure };
}

test('zeros cover the range once, several writes at a time', async () => {
  const { writes, deepest, doneBytes } = await run(0);
  let next = 3 * MIB;
  for (const { at, lengthBytes } of writes) {
    assert.equal(at, next);
    next += lengthBytes;
  }
  assert.equal(next, 40 * MIB + 4096);
  assert.equal(doneBytes, 37 * MIB + 4096);
  assert.ok(deepest >= 8, `${deepest} at a time`);
});

test('a write that fails ends the work, and is what is thrown', async () => {
  const { writes, failure } = await run(5);
  assert.ok(failure instanceof ErrnoError);
  assert.ok(writes.length <= 16, `${writes.length} writes`);
});
