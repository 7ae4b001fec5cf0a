import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as fuse from './fuse-request.ts';

/** A request as the kernel writes it: 64-bit fields as bigint, 32-bit ones as number. */
function format(opcode: number, fields: readonly (number | bigint)[], dataBytes = 0): Uint32Array {
  const words: number[] = [0, opcode, 0x1111, 0x2222, 1, 0, 0, 0, 99, 0];
  for (const field of fields) {
    if (typeof field === 'number') words.push(field);
    else words.push(Number(field & 0xffff_ffffn), Number(field >> 32n));
  }
  words[0] = 4 * words.length + dataBytes;
  return Uint32Array.from([...words, ...Array.from({ length: dataBytes / 4 }, () => 7)]);
}

function parse(words: Uint32Array, receivedBytes = 4 * words.length): fuse.FuseRequest | undefined {
  const request = fuse.newRequest();
  // At another place than 0, so that a forgotten `at` shows.
  const moved = new Uint32Array(words.length + 3);
  moved.set(words, 3);
  return fuse.parseRequest(moved, 3, { receivedBytes, request }) ? request : undefined;
}

test('parseRequest reads offset and length of READ, WRITE and FALLOCATE', () => {
  const at = 5_000_000_000n;
  const read = parse(format(fuse.OPCODE_READ, [0n, at, 65_536, 0, 0n, 0, 0]));
  assert.equal(read!.offsetBytes, 5_000_000_000);
  assert.equal(read!.lengthBytes, 65_536);
  assert.deepEqual([read!.uniqueLow, read!.uniqueHigh], [0x1111, 0x2222]);
  const write = parse(format(fuse.OPCODE_WRITE, [0n, at, 8192, 0, 0n, 0, 0], 8192));
  assert.equal(write!.lengthBytes, 8192);
  const zero = parse(format(fuse.OPCODE_FALLOCATE, [0n, at, 6_000_000_000n, 3, 0]));
  assert.deepEqual([zero!.offsetBytes, zero!.lengthBytes, zero!.mode], [5e9, 6e9, 3]);
  const init = parse(format(fuse.OPCODE_INIT, [7, 45, 131_072, 0xf, 0]));
  assert.deepEqual([init!.major, init!.minor, init!.flags], [7, 45, 0xf]);
});

test('parseRequest forgets what the slot held before', () => {
  const request = fuse.newRequest();
  const read = format(fuse.OPCODE_READ, [0n, 4096n, 4096, 0, 0n, 0, 0]);
  fuse.parseRequest(read, 0, { receivedBytes: 4 * read.length, request });
  const sync = format(20, [0n, 0, 0]);
  fuse.parseRequest(sync, 0, { receivedBytes: 4 * sync.length, request });
  assert.deepEqual([request.offsetBytes, request.lengthBytes], [0, 0]);
});

test('parseRequest refuses what is cut short or says another length', () => {
  const write = format(fuse.OPCODE_WRITE, [0n, 0n, 4096, 0, 0n, 0, 0], 4096);
  assert.equal(parse(write, 4 * write.length - 4), undefined);
  const lying = format(fuse.OPCODE_WRITE, [0n, 0n, 8192, 0, 0n, 0, 0], 4096);
  assert.equal(parse(lying), undefined);
  assert.equal(parse(format(fuse.OPCODE_READ, [0n, 0n])), undefined);
  assert.equal(parse(new Uint32Array(5)), undefined);
});
