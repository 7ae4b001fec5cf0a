import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openCipher } from '../env/node/cipher.ts';
import { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import { Prng } from '../lib/prng.ts';
import { Answer, Request } from '../replication/messages.ts';
import type { Record } from '../replication/record.ts';
import { getAnswer, isDropped, numberOfAnswer, putAnswer, putAnswerBody } from './answer-frame.ts';
import { FrameReader, READER_BYTES } from './frame-reader.ts';
import {
  BODY_BYTES_MAX,
  FRAME_BYTES_MAX,
  HEADER_BYTES,
  KIND_AT,
  REKEY,
  startFrame,
} from './frame.ts';
import type { Guard } from './guard.ts';
import { EXPORT_BYTES, type Guards, guardsOf } from './keys.ts';
import { formatRecord } from './record-json.ts';
import { getRequest, hasData, numberOfKind, putRequest } from './request-frame.ts';

const RECORD: Record = {
  lineage: 2 ** 52 + 1,
  epoch: 7,
  writer: 'w7',
  head: { engine: 'e0', start: 3, attempt: 1 },
  attachment: undefined,
  members: new Map([
    ['r0', 1],
    ['r1', 4],
  ]),
  minimum: 1,
  sizeBytes: 2 ** 41,
};
const LARGE = 2 ** 53 - 1;

function rig(sealed: boolean) {
  const memory = new WebAssembly.Memory({ initial: 32, maximum: 32 });
  const arena = new Arena(memory);
  const reader = new FrameReader(arena, arena.reserve(READER_BYTES, 4096));
  const out = arena.reserve(FRAME_BYTES_MAX, 4096);
  const guards = (side: 'dialling' | 'accepting'): Guards =>
    guardsOf(
      new Uint8Array(EXPORT_BYTES).map((_, index) => index),
      side,
      {
        arena,
        checksum: checksumOf(memory),
        cipher: sealed ? openCipher(memory, { by: 'auto' }) : undefined,
      },
    );
  const { send } = guards('dialling');
  reader.guard(guards('accepting').receive);
  return { arena, reader, out, send, back: guards('dialling').receive };
}
type Rig = ReturnType<typeof rig>;

/** The frame of a request whose body is there already. */
function protectedFrame(
  { arena, out, send }: Rig,
  request: Request,
  bodyBytes: number,
): Uint8Array {
  const frameBytes = startFrame(arena, out, { kind: numberOfKind(request.kind), bodyBytes });
  putRequest(arena, out, request, request.token);
  send.protect(out, frameBytes);
  return arena.u8.slice(out, out + frameBytes);
}

function feed({ arena, reader }: Rig, bytes: Uint8Array): void {
  const address = reader.makeRoom();
  assert.ok(reader.roomBytes >= bytes.length, 'there is room for it');
  arena.u8.set(bytes, address);
  reader.received(bytes.length);
}

function requests(): Request[] {
  const common = { session: LARGE, sequence: 2, epoch: LARGE, token: 143, number: LARGE };
  return [
    { kind: 'open', record: RECORD, head: RECORD.head },
    { kind: 'record', record: RECORD },
    { kind: 'renew' },
    { kind: 'durable' },
    { kind: 'read', offsetBytes: 4096, lengthBytes: 262_144 },
    { kind: 'write', offsetBytes: 2 ** 50 + 1, lengthBytes: 4097, fua: true },
    { kind: 'zero', lengthBytes: 2 ** 32 - 1, allocate: true },
    { kind: 'copy', lengthBytes: 65_536, dataMask: 0xffff, stamp: LARGE },
  ].map((fields) => Object.assign(new Request(), { ...common, ...fields }));
}

function putBody({ arena, out }: Rig, request: Request): number {
  const body = arena.u8.subarray(out + HEADER_BYTES, out + FRAME_BYTES_MAX);
  const { record, head } = request;
  if (record !== undefined) {
    return new TextEncoder().encodeInto(formatRecord({ record, head }), body).written;
  }
  if (!hasData(request.kind)) return 0;
  for (let i = 0; i < request.lengthBytes; i += 1) body[i] = i * 31;
  return request.lengthBytes;
}

for (const sealed of [false, true]) {
  const name = sealed ? 'sealed' : 'in clear';

  test(`${name}: each request comes out as it went in, byte by byte or at once`, () => {
    const one = rig(sealed);
    const { arena, reader } = one;
    for (const request of requests()) {
      const bodyBytes = putBody(one, request);
      const body = arena.u8.slice(one.out + HEADER_BYTES, one.out + HEADER_BYTES + bodyBytes);
      const frame = protectedFrame(one, request, bodyBytes);
      for (let at = 0; at < 200 && at < frame.length - 1; at += 1) {
        feed(one, frame.subarray(at, at + 1));
        assert.equal(reader.next(), 'more');
      }
      const fed = Math.min(200, frame.length - 1);
      feed(one, frame.subarray(fed));
      assert.equal(reader.next(), 'frame');
      assert.equal(reader.next(), 'frame');
      const got = new Request();
      assert.equal(getRequest(arena, reader.address, reader.bodyBytes, got), undefined);
      assert.deepEqual(got, request);
      const at = reader.address + HEADER_BYTES;
      assert.deepEqual(arena.u8.slice(at, at + bodyBytes), body);
      reader.skip();
      assert.equal(reader.next(), 'more');
      assert.equal(reader.heldBytes, 0);
    }
  });

  test(`${name}: any changed bit ends it by name, and so does a frame again, left out, or from the other side`, () => {
    const prng = new Prng(4711);
    for (let round = 0; round < 120; round += 1) {
      const one = rig(sealed);
      const request = Object.assign(new Request(), { kind: 'write', lengthBytes: 100 });
      const frame = protectedFrame(one, request, putBody(one, request));
      const bit = round < 96 ? round * 8 + prng.below(8) : prng.below(frame.length * 8);
      frame[bit >> 3]! ^= 1 << (bit & 7);
      feed(one, frame);
      const found = one.reader.next();
      const isLength = bit >> 3 >= 4 && bit >> 3 < 8;
      const wanted = isLength ? ['more', 'PEER_FRAME', 'PEER_PROOF'] : ['PEER_FRAME', 'PEER_PROOF'];
      assert.ok(wanted.includes(found), `bit ${bit} gives ${found}`);
    }
    const request = Object.assign(new Request(), { kind: 'renew' });
    const again = rig(sealed);
    const first = protectedFrame(again, request, 0);
    feed(again, first);
    feed(again, first);
    assert.equal(again.reader.next(), 'frame');
    again.reader.skip();
    assert.equal(again.reader.next(), 'PEER_PROOF');
    const gap = rig(sealed);
    protectedFrame(gap, request, 0);
    feed(gap, protectedFrame(gap, request, 0));
    assert.equal(gap.reader.next(), 'PEER_PROOF');
    const mirrored = rig(sealed);
    mirrored.reader.guard(mirrored.back);
    feed(mirrored, protectedFrame(mirrored, request, 0));
    assert.equal(mirrored.reader.next(), 'PEER_PROOF');
  });

  test(`${name}: noise never passes, takes no more than the buffer, and is not waited for`, () => {
    const prng = new Prng(17);
    for (let round = 0; round < 50; round += 1) {
      const one = rig(sealed);
      const noise = Uint8Array.from({ length: 1 + prng.below(4096) }, () => prng.below(256));
      feed(one, noise);
      assert.equal(one.reader.next(), noise.length < 16 ? 'more' : 'PEER_FRAME');
    }
    const one = rig(sealed);
    const frameBytes = startFrame(one.arena, one.out, { kind: 1, bodyBytes: 0 });
    one.arena.view.setUint32(one.out + 4, BODY_BYTES_MAX + 1, true);
    feed(one, one.arena.u8.slice(one.out, one.out + frameBytes));
    assert.equal(one.reader.next(), 'PEER_FRAME');
  });

  test(`${name}: frames of all sizes pass through one buffer`, () => {
    const one = rig(sealed);
    const { arena, reader } = one;
    const prng = new Prng(3);
    let pending = new Uint8Array(0);
    let [sent, got] = [0, 0];
    while (got < 60) {
      if (pending.length === 0 && sent < 60) {
        sent += 1;
        const lengthBytes = sent % 9 === 0 ? BODY_BYTES_MAX : 1 + prng.below(20_000);
        const request = Object.assign(new Request(), { kind: 'write', lengthBytes, number: sent });
        pending = protectedFrame(one, request, putBody(one, request)) as Uint8Array<ArrayBuffer>;
      }
      const address = reader.makeRoom();
      const count = Math.min(pending.length, reader.roomBytes, 1 + prng.below(100_000));
      arena.u8.set(pending.subarray(0, count), address);
      reader.received(count);
      pending = pending.subarray(count);
      for (let found = reader.next(); found !== 'more'; found = reader.next()) {
        assert.equal(found, 'frame');
        const request = new Request();
        assert.equal(getRequest(arena, reader.address, reader.bodyBytes, request), undefined);
        got += 1;
        assert.equal(request.number, got);
        assert.equal(
          arena.u8[reader.address + HEADER_BYTES + request.lengthBytes - 1],
          ((request.lengthBytes - 1) * 31) & 255,
        );
        reader.skip();
      }
    }
  });
}

test('keys change at rekey, on both sides; a sender that goes on without is ended', () => {
  const one = rig(true);
  const { arena, out, send, reader } = one;
  const request = Object.assign(new Request(), { kind: 'renew' });
  const before = protectedFrame(one, request, 0);
  feed(one, before);
  assert.equal(reader.next(), 'frame');
  reader.skip();
  const frameBytes = startFrame(arena, out, { kind: REKEY, bodyBytes: 0 });
  send.protect(out, frameBytes);
  feed(one, arena.u8.slice(out, out + frameBytes));
  assert.equal(send.renew(), true);
  const after = protectedFrame(one, request, 0);
  assert.notDeepEqual(after, before);
  feed(one, after);
  assert.equal(reader.next(), 'frame');
  assert.equal(arena.u8[reader.address + KIND_AT], numberOfKind('renew'));
  reader.skip();
  const spent: Guard = {
    protect() {},
    verify: () => true,
    isSpent: true,
    renew: () => true,
    close() {},
  };
  reader.guard(spent);
  feed(one, protectedFrame(one, request, 0));
  // Sealed bytes under a guard that lets all pass: their kind is not that of rekey.
  assert.equal(reader.next(), 'PEER_KEY');
});

test('a frame in clear has no key to change', () => {
  const one = rig(false);
  const frameBytes = startFrame(one.arena, one.out, { kind: REKEY, bodyBytes: 0 });
  one.send.protect(one.out, frameBytes);
  feed(one, one.arena.u8.slice(one.out, one.out + frameBytes));
  assert.equal(one.reader.next(), 'PEER_KIND');
});

test('fields that cannot be are refused by name', () => {
  const { arena, out } = rig(false);
  const put = (fields: Partial<Request>, bodyBytes = 0): void => {
    const request = Object.assign(new Request(), fields);
    startFrame(arena, out, { kind: numberOfKind(request.kind), bodyBytes });
    putRequest(arena, out, request, 1);
  };
  const got = (bodyBytes = 0) => getRequest(arena, out, bodyBytes, new Request());
  put({ kind: 'read', lengthBytes: 4096 });
  assert.equal(got(), undefined);
  for (const kind of [0, 15, 64, 128, 255]) {
    arena.u8[out + KIND_AT] = kind;
    assert.equal(got(), 'PEER_KIND');
  }
  for (const lengthBytes of [0, BODY_BYTES_MAX + 1]) {
    put({ kind: 'read', lengthBytes });
    assert.equal(got(), 'PEER_FIELD');
  }
  put({ kind: 'write', lengthBytes: 4096 }, 4095);
  assert.equal(got(4095), 'PEER_FIELD');
  for (const at of [40, 48, 56, 64, 72, 80]) {
    put({ kind: 'flush' });
    arena.u8[out + at + 6] = 0x20;
    assert.equal(got(), 'PEER_FIELD');
  }
  put({ kind: 'flush' });
  arena.u8[out + 33] = 4;
  assert.equal(got(), 'PEER_FIELD');
  put({ kind: 'flush' });
  arena.u8[out + 92] = 1;
  assert.equal(got(), 'PEER_FRAME');
  for (const text of [
    '',
    '{',
    '[]',
    '{"record":{}}',
    formatRecord({ record: RECORD, head: undefined }),
  ]) {
    const { written } = new TextEncoder().encodeInto(text, arena.u8.subarray(out + HEADER_BYTES));
    put({ kind: 'open' }, written);
    assert.equal(got(written), 'PEER_FIELD');
  }
});

test('each answer comes out as it went in', () => {
  const { arena, out } = rig(false);
  const common = { session: LARGE, token: 3, life: LARGE };
  const answers: Partial<Answer>[] = [
    { kind: 'open', base: { lineage: LARGE, epoch: 0 } },
    { kind: 'open', errno: 116, record: RECORD },
    { kind: 'write', errno: 28 },
    {
      kind: 'marks',
      marks: [
        { extent: 2 ** 32 - 1, mask: 0xffff },
        { extent: 0, mask: 1 },
      ],
    },
    { kind: 'marks' },
    { kind: 'digest', digest: { words: [0, 1, 2 ** 32 - 1, 3], dataMask: 0x8001, stamp: LARGE } },
    { kind: 'survey', survey: [{ extent: 5, stamp: 9, dataMask: 3 }] },
  ];
  for (const fields of answers) {
    const answer = Object.assign(new Answer(), { ...common, ...fields });
    const bodyBytes = putAnswerBody(arena, out + HEADER_BYTES, answer, 16_384);
    startFrame(arena, out, { kind: numberOfAnswer(answer), bodyBytes });
    putAnswer(arena, out, answer);
    const got = new Answer();
    assert.equal(getAnswer(arena, out, bodyBytes, got), undefined);
    assert.deepEqual(got, answer);
    assert.equal(isDropped(arena, out), false);
  }
});

test('answers larger than their slot are a bug of the replica', () => {
  const { arena, out } = rig(false);
  const marks = Array.from({ length: 10 }, (_, extent) => ({ extent, mask: 1 }));
  for (const fields of [{ marks }, { record: RECORD }]) {
    const answer = Object.assign(new Answer(), fields);
    assert.throws(() => putAnswerBody(arena, out, answer, 64), RangeError);
  }
});
