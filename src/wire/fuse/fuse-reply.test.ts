import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as reply from './fuse-reply.ts';

const to = { uniqueLow: 0x89abcdef, uniqueHigh: 0x01234567 };
const UNIQUE = 0x0123456789abcdefn;
const AT = 5;

/** The reply's bytes; the words around it must stay as they were. */
function written(format: (words: Uint32Array, at: number) => number): DataView {
  const words = new Uint32Array(AT + reply.REPLY_BYTES_MAX / 4 + 5).fill(0xaaaa_aaaa);
  const lengthBytes = format(words, AT);
  assert.ok(lengthBytes <= reply.REPLY_BYTES_MAX);
  assert.ok(words.subarray(0, AT).every((word) => word === 0xaaaa_aaaa));
  assert.ok(words.subarray(AT + lengthBytes / 4).every((word) => word === 0xaaaa_aaaa));
  const view = new DataView(words.buffer, 4 * AT, lengthBytes);
  assert.equal(view.getBigUint64(8, true), UNIQUE);
  return view;
}

test('a status carries the negative errno', () => {
  const view = written((words, at) => reply.formatStatus(words, at, { to, errno: 5 }));
  assert.deepEqual(
    [view.byteLength, view.getUint32(0, true), view.getInt32(4, true)],
    [16, 16, -5],
  );
});

test('a read counts its data, which is another segment', () => {
  const view = written((words, at) => reply.formatRead(words, at, { to, dataBytes: 4096 }));
  assert.deepEqual([view.byteLength, view.getUint32(0, true)], [16, 4112]);
});

test('init is a struct fuse_init_out of 64 bytes', () => {
  const view = written((words, at) =>
    reply.formatInit(words, at, {
      to,
      kernelFlags: 0xffff_ffff,
      writeBytesMax: 262_144,
      requestCountMax: 32,
    }),
  );
  const body = 16;
  assert.equal(view.byteLength, body + 64);
  assert.equal(view.getUint32(body, true), 7);
  assert.equal(view.getUint32(body + 12, true), (1 << 0) | (1 << 5) | (1 << 15) | (1 << 22));
  assert.equal(view.getUint16(body + 16, true), 32, 'max_background');
  assert.equal(view.getUint16(body + 18, true), 32, 'congestion_threshold');
  assert.equal(view.getUint32(body + 20, true), 262_144, 'max_write');
  assert.equal(view.getUint16(body + 28, true), 64, 'max_pages');
});

test('what the kernel does not offer is not asked for', () => {
  const view = written((words, at) =>
    reply.formatInit(words, at, { to, kernelFlags: 1, writeBytesMax: 4096, requestCountMax: 1 }),
  );
  assert.equal(view.getUint32(16 + 12, true), 1);
});

test('attributes are a struct fuse_attr_out of 104 bytes', () => {
  const sizeBytes = 5 * 2 ** 40 + 4096;
  const view = written((words, at) => reply.formatAttributes(words, at, { to, sizeBytes }));
  const attributes = 16 + 16;
  assert.equal(view.byteLength, 16 + 104);
  assert.equal(view.getBigUint64(attributes, true), 1n, 'ino');
  assert.equal(view.getBigUint64(attributes + 8, true), BigInt(sizeBytes), 'size');
  assert.equal(view.getBigUint64(attributes + 16, true), BigInt(sizeBytes / 512), 'blocks');
  assert.equal(view.getUint32(attributes + 60, true), 0o100600, 'mode');
  assert.equal(view.getUint32(attributes + 64, true), 1, 'nlink');
  assert.equal(view.getUint32(attributes + 80, true), 4096, 'blksize');
});

test('an open file bypasses the page cache', () => {
  const view = written((words, at) => reply.formatOpen(words, at, { to }));
  assert.deepEqual([view.byteLength, view.getUint32(16 + 8, true) & 1], [32, 1]);
});

test('statfs tells the unit of discards', () => {
  const sizeBytes = 2 ** 40;
  const view = written((words, at) => reply.formatStatfs(words, at, { to, sizeBytes }));
  assert.equal(view.byteLength, 16 + 80);
  assert.equal(view.getBigUint64(16, true), BigInt(2 ** 28));
  assert.equal(view.getUint32(16 + 40, true), 4096, 'bsize');
});

test('a write tells how much was taken', () => {
  const view = written((words, at) => reply.formatWrite(words, at, { to, dataBytes: 8192 }));
  assert.deepEqual([view.byteLength, view.getUint32(16, true)], [24, 8192]);
});
