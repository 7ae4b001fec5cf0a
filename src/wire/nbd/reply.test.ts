import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { test } from 'node:test';

import * as reply from './reply.ts';

const bytes = Buffer.alloc(256);
const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const OFFSET = 2 ** 45 + 3;

function hex(from: number, lengthBytes: number): string {
  return bytes.toString('hex', from, from + lengthBytes);
}

test('replies are formatted as the protocol draws them', () => {
  reply.formatSimpleReply(view, 0, 5, 0x01020304, 0x05060708);
  assert.equal(hex(0, 16), '67446698 00000005 0102030405060708'.replaceAll(' ', ''));
  reply.formatOffsetData(view, 0, true, 1, 2, OFFSET, 4096);
  assert.equal(
    hex(0, reply.OFFSET_DATA_HEADER_BYTES),
    '668e33ef 0001 0001 0000000100000002 00001008 0000200000000003'.replaceAll(' ', ''),
  );
  reply.formatOffsetHole(view, 0, false, 1, 2, OFFSET, 4096);
  assert.equal(
    hex(0, reply.OFFSET_HOLE_BYTES),
    '668e33ef 0000 0002 0000000100000002 0000000c 0000200000000003 00001000'.replaceAll(' ', ''),
  );
  reply.formatNone(view, 0, 1, 2);
  assert.equal(
    hex(0, reply.NONE_CHUNK_BYTES),
    '668e33ef 0001 0000 0000000100000002 00000000'.replaceAll(' ', ''),
  );
  reply.formatBlockStatus(view, 0, 2, 1, 2);
  reply.formatStatusExtent(view, 0, 0, 512, 0);
  reply.formatStatusExtent(view, 0, 1, 4096, 3);
  assert.equal(
    hex(0, 40),
    '668e33ef 0001 0005 0000000100000002 00000014 00000001 00000200 00000000 00001000 00000003'.replaceAll(
      ' ',
      '',
    ),
  );
});

test('error chunks carry their text, and all of them fit where slots have room', () => {
  for (const errno of [1, 5, 12, 22, 28, 75, 95, 108]) {
    const length = reply.formatError(view, 0, errno, 1, 2);
    assert.equal(view.getUint32(16), length - 20);
    assert.equal(view.getUint32(20), errno);
    const textBytes = view.getUint16(24);
    assert.equal(textBytes, length - 26);
    const withOffset = reply.formatErrorOffset(view, 0, true, errno, 1, 2, OFFSET);
    assert.equal(withOffset, length + 8);
    assert.equal(view.getUint32(16), withOffset - 20);
    assert.equal(view.getBigUint64(26 + textBytes), BigInt(OFFSET));
    assert.ok(withOffset <= reply.ERROR_CHUNK_BYTES_MAX);
  }
});

test('nbdError knows the eight errors and makes the rest one of them', () => {
  for (const errno of [0, 1, 5, 12, 22, 28, 75, 95, 108])
    assert.equal(reply.nbdError(errno), errno);
  assert.equal(reply.nbdError(30), 1);
  assert.equal(reply.nbdError(27), 28);
  assert.equal(reply.nbdError(122), 28);
  for (const errno of [2, 11, 16, 61, 999]) assert.equal(reply.nbdError(errno), 5);
});
