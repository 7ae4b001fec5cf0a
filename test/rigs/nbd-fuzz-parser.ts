/** Fuzzes the pure parts of the NBD server: whatever bytes come, in whatever pieces, they answer in bounds and in form. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';

import { Prng } from '../../src/lib/prng.ts';
import {
  HANDSHAKE_REPLY_BYTES_MAX,
  Handshake,
  OPTION_BYTES_MAX,
} from '../../src/wire/nbd/handshake.ts';
import { RequestHeader, judgeRequest } from '../../src/wire/nbd/request.ts';
import { handshakeFor, mutate, randomOptions, randomPieces } from './nbd-streams.ts';

const NAME = '00112233445566778899aabbccddeeff';
const INFO = {
  name: NAME,
  description: 'fuzzed',
  sizeBytes: 2 ** 40,
  readOnly: false,
  shuttingDown: false,
};
const ERRNOS = new Set([0, 1, 22, 28, 75, 95]);

/** One case. Throws on the first thing that is wrong. */
export function fuzzParserCase(prng: Prng): void {
  const plain = prng.chance(50)
    ? randomOptions(prng, NAME)
    : handshakeFor({ structured: prng.chance(50), contexts: prng.chance(50) }, NAME);
  const stream = prng.chance(80) ? mutate(prng, plain) : plain;
  fuzzHandshake(prng, stream);
  fuzzRequest(prng);
}

function fuzzHandshake(prng: Prng, stream: Buffer): void {
  const handshake = new Handshake(() => INFO);
  let held: Buffer = Buffer.alloc(0);
  for (const piece of randomPieces(prng, stream)) {
    held = Buffer.concat([held, piece]);
    for (;;) {
      const step = handshake.step(held);
      assert.ok(step.consumedBytes >= 0 && step.consumedBytes <= held.length);
      assert.ok(step.reply.length <= HANDSHAKE_REPLY_BYTES_MAX);
      checkReplyForm(Buffer.from(step.reply), step.kind === 'transmission');
      held = held.subarray(step.consumedBytes);
      if (step.kind === 'transmission') {
        assert.ok(stream.includes(NAME), 'nobody comes in without the name');
        return;
      }
      if (step.kind === 'close') {
        assert.equal(handshake.step(held).kind, 'close', 'what is closed stays closed');
        return;
      }
      if (step.kind === 'more' && (step.consumedBytes === 0 || held.length === 0)) break;
    }
    assert.ok(held.length <= OPTION_BYTES_MAX + 16, 'an option that is whole is not held');
  }
}

/** Option replies in form; EXPORT_NAME's has none of their headers. */
function checkReplyForm(reply: Buffer, mayBeExportName: boolean): void {
  if (mayBeExportName && (reply.length === 10 || reply.length === 134)) return;
  for (let at = 0; at < reply.length;) {
    assert.equal(reply.readBigUInt64BE(at), 0x3e889045565a9n);
    const type = reply.readUInt32BE(at + 12);
    assert.ok((type >= 1 && type <= 4) || (type >= 0x80000001 && type <= 0x80000009));
    at += 20 + reply.readUInt32BE(at + 16);
    assert.ok(at <= reply.length, 'a reply ends where it says');
  }
}

function fuzzRequest(prng: Prng): void {
  const bytes = Buffer.from(prng.bytes(28));
  if (prng.chance(90)) bytes.writeUInt32BE(0x25609513);
  if (prng.chance(80)) bytes.writeUInt16BE(prng.below(9), 6);
  if (prng.chance(80)) bytes.writeUInt16BE(prng.pick([0, 0, 1, 2, 4, 8, 16, 32]), 4);
  if (prng.chance(80)) bytes.writeUInt32BE(prng.below(300), 16);
  const header = new RequestHeader();
  const parsed = header.parse(new DataView(bytes.buffer, bytes.byteOffset, 28), 0);
  assert.equal(parsed, bytes.readUInt32BE() === 0x25609513);
  if (!parsed) return;
  const limits = {
    sizeBytes: INFO.sizeBytes,
    readOnly: prng.chance(20),
    structuredReplies: prng.chance(50),
    allocationContext: prng.chance(50),
  };
  const errno = judgeRequest(header, limits);
  assert.ok(ERRNOS.has(errno));
  if (errno !== 0) return;
  assert.ok(header.type <= 7);
  assert.ok(header.offsetBytes + header.lengthBytes <= limits.sizeBytes);
}
