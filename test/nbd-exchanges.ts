/** Exchanges with an NBD server that tests are made of, with what they check by themselves. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { setTimeout as sleep } from 'node:timers/promises';

import * as nbd from '../src/wire/nbd/constants.ts';
import type { NbdRawClient, Reply } from './nbd-raw-client.ts';

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  let state = seed;
  for (let at = 0; at + 4 <= lengthBytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

/** Writes and takes the reply. */
export async function write(
  client: NbdRawClient,
  offset: number,
  data: Buffer,
  flags = 0,
): Promise<void> {
  client.request({ type: nbd.CMD_WRITE, offset, data, flags, cookie: 77n });
  assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 77n, errno: 0 });
}

/** Reads with simple replies. */
export async function read(client: NbdRawClient, offset: number, length: number): Promise<Buffer> {
  client.request({ type: nbd.CMD_READ, offset, length, cookie: 78n });
  assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 78n, errno: 0 });
  return client.receive(length);
}

/** A structured reply to READ, put together. */
export type Content = { readonly bytes: Buffer; readonly chunks: number; readonly errors: Reply[] };

/** Takes the chunks of one structured reply and puts them together, checking that they are what the protocol allows. */
export async function collect(
  client: NbdRawClient,
  offset: number,
  length: number,
): Promise<Content> {
  const bytes = Buffer.alloc(length, 0xaa);
  const seen = new Uint8Array(length);
  const errors: Reply[] = [];
  let chunks = 0;
  for (;;) {
    const chunk = await client.reply();
    assert.ok(chunk.kind === 'chunk');
    if (chunk.type === nbd.REPLY_TYPE_OFFSET_DATA || chunk.type === nbd.REPLY_TYPE_OFFSET_HOLE) {
      chunks += 1;
      const hole = chunk.type === nbd.REPLY_TYPE_OFFSET_HOLE;
      const at = Number(chunk.payload.readBigUInt64BE()) - offset;
      const count = hole ? chunk.payload.readUInt32BE(8) : chunk.payload.length - 8;
      assert.ok(at >= 0 && count > 0 && at + count <= length, 'chunks lie in the request');
      assert.ok(!seen.subarray(at, at + count).includes(1), 'chunks do not overlap');
      seen.fill(1, at, at + count);
      if (hole) bytes.fill(0, at, at + count);
      else chunk.payload.copy(bytes, at, 8);
    } else if (chunk.type >= 0x8000) errors.push(chunk);
    else assert.equal(chunk.type, nbd.REPLY_TYPE_NONE);
    if ((chunk.flags & nbd.REPLY_FLAG_DONE) !== 0) break;
  }
  if (errors.length === 0) assert.ok(!seen.includes(0), 'all is covered');
  return { bytes, chunks, errors };
}

/** Reads with structured replies. */
export function readChunks(
  client: NbdRawClient,
  request: { readonly offset: number; readonly length: number; readonly flags?: number },
): Promise<Content> {
  client.request({ type: nbd.CMD_READ, ...request });
  return collect(client, request.offset, request.length);
}

/** Waits for what is to happen within 5 s. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000 && !isSo(); tries += 1) await sleep(5);
  assert.ok(isSo(), 'it happens within 5 s');
}
