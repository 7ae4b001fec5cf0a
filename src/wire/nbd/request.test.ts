import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as nbd from './constants.ts';
import { RequestHeader, type RequestLimits, judgeRequest } from './request.ts';
import { formatRequest, type RequestFields } from '../../../test/nbd-raw-client.ts';

const LIMITS: RequestLimits = {
  sizeBytes: 2 ** 40,
  readOnly: false,
  structuredReplies: true,
  allocationContext: true,
};

function parse(fields: RequestFields): RequestHeader {
  const bytes = formatRequest(fields);
  const header = new RequestHeader();
  assert.ok(header.parse(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0));
  return header;
}

function judge(fields: RequestFields, limits: Partial<RequestLimits> = {}): number {
  return judgeRequest(parse(fields), { ...LIMITS, ...limits });
}

test('RequestHeader parses every field', () => {
  const offset = 2 ** 52 + 12_345;
  const header = parse({ type: 6, flags: 3, cookie: 0x0123456789abcdefn, offset, length: 77 });
  assert.deepEqual(Object.fromEntries(Object.entries(header)), {
    flags: 3,
    type: 6,
    cookieHigh: 0x01234567,
    cookieLow: 0x89abcdef,
    offsetBytes: offset,
    lengthBytes: 77,
  });
});

test('RequestHeader refuses a wrong magic and keeps offsets beyond 2^53 beyond every volume', () => {
  assert.equal(new RequestHeader().parse(new DataView(new ArrayBuffer(28)), 0), false);
  for (const offset of [2n ** 53n, 2n ** 64n - 1n, 2n ** 64n - 4096n]) {
    assert.equal(judge({ type: nbd.CMD_READ, offset, length: 4096 }), 22);
    assert.equal(judge({ type: nbd.CMD_WRITE, offset, length: 4096 }), 28);
  }
});

test('judgeRequest lets through what the export can do, up to its last byte', () => {
  const end = { offset: LIMITS.sizeBytes - 512, length: 512 };
  for (const fields of [
    { type: nbd.CMD_READ, ...end },
    { type: nbd.CMD_READ, ...end, flags: nbd.CMD_FLAG_DF },
    { type: nbd.CMD_READ, offset: 0, length: nbd.PAYLOAD_BYTES_MAX },
    { type: nbd.CMD_WRITE, ...end, flags: nbd.CMD_FLAG_FUA },
    { type: nbd.CMD_FLUSH },
    { type: nbd.CMD_FLUSH, flags: nbd.CMD_FLAG_FUA },
    { type: nbd.CMD_TRIM, offset: 0, length: 0xffffffff, flags: nbd.CMD_FLAG_FUA },
    { type: nbd.CMD_WRITE_ZEROES, ...end, flags: nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA },
    { type: nbd.CMD_WRITE_ZEROES, offset: 4096, length: 8192, flags: nbd.CMD_FLAG_FAST_ZERO },
    { type: nbd.CMD_CACHE, offset: 0, length: 0xffffffff },
    { type: nbd.CMD_BLOCK_STATUS, offset: 0, length: 0xffffffff, flags: nbd.CMD_FLAG_REQ_ONE },
  ]) {
    assert.equal(judge(fields), 0, JSON.stringify(fields));
  }
});

test('judgeRequest refuses as the protocol says', () => {
  const beyond = { offset: LIMITS.sizeBytes - 512, length: 513 };
  const tooLong = { offset: 0, length: nbd.PAYLOAD_BYTES_MAX + 1 };
  for (const [errno, fields, limits] of [
    [22, { type: 8 }],
    [22, { type: 0xffff }],
    [22, { type: nbd.CMD_READ, flags: nbd.CMD_FLAG_NO_HOLE }],
    [22, { type: nbd.CMD_WRITE, flags: 1 << 5 }],
    [22, { type: nbd.CMD_READ, flags: nbd.CMD_FLAG_DF }, { structuredReplies: false }],
    [22, { type: nbd.CMD_READ, ...beyond }],
    [22, { type: nbd.CMD_TRIM, ...beyond }],
    [22, { type: nbd.CMD_CACHE, ...beyond }],
    [22, { type: nbd.CMD_BLOCK_STATUS, ...beyond }],
    [28, { type: nbd.CMD_WRITE, ...beyond }],
    [28, { type: nbd.CMD_WRITE_ZEROES, ...beyond }],
    [22, { type: nbd.CMD_WRITE, ...tooLong }],
    [75, { type: nbd.CMD_READ, ...tooLong }],
    [22, { type: nbd.CMD_READ, ...tooLong }, { structuredReplies: false }],
    [22, { type: nbd.CMD_FLUSH, length: 1 }],
    [22, { type: nbd.CMD_FLUSH, offset: 1 }],
    [22, { type: nbd.CMD_BLOCK_STATUS, length: 1 }, { allocationContext: false }],
    [1, { type: nbd.CMD_WRITE, length: 1 }, { readOnly: true }],
    [1, { type: nbd.CMD_TRIM, length: 1 }, { readOnly: true }],
    [1, { type: nbd.CMD_WRITE_ZEROES, length: 1 }, { readOnly: true }],
    [95, { type: nbd.CMD_WRITE_ZEROES, length: 100, flags: nbd.CMD_FLAG_FAST_ZERO }],
    [
      95,
      {
        type: nbd.CMD_WRITE_ZEROES,
        length: 4096,
        flags: nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE,
      },
    ],
  ] as const) {
    assert.equal(judge(fields, limits), errno, JSON.stringify(fields));
  }
});
