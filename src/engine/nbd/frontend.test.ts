import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import * as nbd from '../../wire/nbd/constants.ts';
import { Prng } from '../../lib/prng.ts';
import { NbdHarness, type Served } from '../../../test/nbd-harness.ts';
import { NbdRawClient, type Reply } from '../../../test/nbd-raw-client.ts';

const KIB = 1024;
const MIB = 1024 * 1024;

function pattern(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  let state = seed;
  for (let at = 0; at + 4 <= lengthBytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

async function write(client: NbdRawClient, offset: number, data: Buffer, flags = 0): Promise<void> {
  client.request({ type: nbd.CMD_WRITE, offset, data, flags, cookie: 77n });
  assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 77n, errno: 0 });
}

/** Reads with simple replies. */
async function read(client: NbdRawClient, offset: number, length: number): Promise<Buffer> {
  client.request({ type: nbd.CMD_READ, offset, length, cookie: 78n });
  assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 78n, errno: 0 });
  return client.receive(length);
}

type Content = { readonly bytes: Buffer; readonly chunks: number; readonly errors: Reply[] };

/** Takes the chunks of one structured reply and puts them together, checking that they are what the protocol allows. */
async function collect(client: NbdRawClient, offset: number, length: number): Promise<Content> {
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

function readChunks(
  client: NbdRawClient,
  request: { readonly offset: number; readonly length: number; readonly flags?: number },
): Promise<Content> {
  client.request({ type: nbd.CMD_READ, ...request });
  return collect(client, request.offset, request.length);
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000 && !isSo(); tries += 1) await sleep(5);
  assert.ok(isSo(), 'it happens within 5 s');
}

for (const kind of ['auto', 'node'] as const) {
  void suite(`NbdFrontend on ${kind}`, () => {
    const harness = new NbdHarness(kind);
    const serve = (options: Parameters<NbdHarness['serve']>[0] = {}): Promise<Served> =>
      harness.serve(options);

    test('what is written is read, at any alignment and size', async () => {
      const { target, attach } = await serve();
      const simple = await attach();
      const structured = await attach({ structured: true });
      const prng = new Prng(1);
      for (const length of [1, 511, 512, 4096, 4097, 9000, 65_536, 256 * KIB, 3 * MIB + 7]) {
        for (const base of [0, 1, 4095, 4096, 262_143]) {
          const offset = base + 4096 * prng.below(100);
          const data = pattern(length, offset + length);
          await write(simple, offset, data);
          assert.ok(target.data.subarray(offset, offset + length).equals(data));
          assert.ok((await read(simple, offset, length)).equals(data));
          const content = await readChunks(structured, { offset, length });
          assert.ok(content.bytes.equals(data), `${length} at ${offset}`);
        }
      }
      simple.destroy();
      structured.destroy();
    });

    test('32 MiB go through in pieces that the target takes', async () => {
      const { target, attach } = await serve();
      const simple = await attach();
      const structured = await attach({ structured: true });
      const offset = 12_345;
      const data = pattern(32 * MIB, 5);
      await write(simple, offset, data);
      assert.ok(target.data.subarray(offset, offset + data.length).equals(data));
      assert.ok((await read(simple, offset, data.length)).equals(data));
      const chunked = await readChunks(structured, { offset, length: data.length });
      assert.ok(chunked.bytes.equals(data));
      const flags = nbd.CMD_FLAG_DF;
      const whole = await readChunks(structured, { offset, length: data.length, flags });
      assert.ok(whole.bytes.equals(data));
      assert.equal(whole.chunks, 1);
      assert.ok(target.calls.every((call) => call.lengthBytes <= 260 * KIB));
      simple.destroy();
      structured.destroy();
    });

    test('requests of one client overtake a large reply only between replies', async () => {
      const { target, attach } = await serve();
      const client = await attach();
      pattern(8 * MIB, 9).copy(target.data);
      for (let index = 0; index < 5; index += 1) {
        const at = { offset: index * 4096, length: 4096 };
        client.request({ type: nbd.CMD_READ, cookie: BigInt(2 * index), ...at });
        client.request({
          type: nbd.CMD_READ,
          cookie: BigInt(2 * index + 1),
          offset: 0,
          length: 4 * MIB,
        });
      }
      const seen = new Set<bigint>();
      while (seen.size < 10) {
        const reply = await client.reply();
        assert.ok(reply.kind === 'simple' && reply.errno === 0);
        const large = reply.cookie % 2n === 1n;
        const offset = large ? 0 : Number(reply.cookie / 2n) * 4096;
        const length = large ? 4 * MIB : 4096;
        const data = await client.receive(length);
        assert.ok(data.equals(target.data.subarray(offset, offset + length)));
        seen.add(reply.cookie);
      }
      client.destroy();
    });

    test('TRIM, WRITE_ZEROES, FLUSH, CACHE and FUA reach the target as they were asked', async () => {
      const { target, attach } = await serve();
      const client = await attach();
      await write(client, 4096, pattern(4096, 3), nbd.CMD_FLAG_FUA);
      const ask = async (type: number, flags: number, range = true): Promise<void> => {
        const at = range ? { offset: 512, length: 16_384 } : { offset: 0, length: 0 };
        client.request({ type, flags, ...at });
        assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 0n, errno: 0 });
      };
      await ask(nbd.CMD_TRIM, nbd.CMD_FLAG_FUA);
      await ask(nbd.CMD_WRITE_ZEROES, nbd.CMD_FLAG_NO_HOLE);
      await ask(nbd.CMD_WRITE_ZEROES, nbd.CMD_FLAG_FUA);
      await ask(nbd.CMD_CACHE, 0);
      await ask(nbd.CMD_FLUSH, 0, false);
      const at = { offsetBytes: 512, lengthBytes: 16_384 };
      assert.deepEqual(target.calls, [
        { call: 'write', offsetBytes: 4096, lengthBytes: 4096, fua: true, allocate: false },
        { call: 'trim', ...at, fua: true, allocate: false },
        { call: 'zero', ...at, fua: false, allocate: true },
        { call: 'zero', ...at, fua: true, allocate: false },
        { call: 'flush', offsetBytes: 0, lengthBytes: 0, fua: false, allocate: false },
      ]);
      client.destroy();
    });

    test('requests of length 0 are answered and do nothing', async () => {
      const { target, attach } = await serve();
      const simple = await attach();
      for (const type of [nbd.CMD_READ, nbd.CMD_WRITE, nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES]) {
        simple.request({ type, offset: 5 });
        assert.deepEqual(await simple.reply(), { kind: 'simple', cookie: 0n, errno: 0 });
      }
      const structured = await attach({ structured: true });
      structured.request({ type: nbd.CMD_READ });
      const reply = await structured.reply();
      assert.ok(reply.kind === 'chunk' && reply.type === nbd.REPLY_TYPE_NONE && reply.flags === 1);
      assert.deepEqual(target.calls, []);
      simple.destroy();
      structured.destroy();
    });

    test('a refused write is skipped with its payload, and the session goes on', async () => {
      const { target, attach } = await serve({ sizeBytes: MIB });
      const client = await attach();
      for (const [errno, fields] of [
        [28, { offset: MIB - 100, data: pattern(200_000, 1) }],
        [22, { offset: 0, data: pattern(5000, 1), flags: nbd.CMD_FLAG_DF }],
        [22, { offset: 0, data: Buffer.alloc(32 * MIB + 1) }],
      ] as const) {
        client.request({ type: nbd.CMD_WRITE, cookie: 3n, ...fields });
        const reply = await client.reply();
        assert.ok(reply.kind === 'simple' && reply.cookie === 3n);
        assert.ok(reply.errno === errno || reply.errno === 28);
      }
      assert.deepEqual(target.calls, []);
      await write(client, 0, pattern(4096, 2));
      client.destroy();
    });

    test('a read-only attachment refuses changes with EPERM', async () => {
      const { target, attach } = await serve({ readOnly: true });
      const client = await attach({ structured: true });
      for (const type of [nbd.CMD_WRITE, nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES]) {
        const data = type === nbd.CMD_WRITE ? { data: Buffer.alloc(4096) } : { length: 4096 };
        client.request({ type, offset: 0, ...data });
        const reply = await client.reply();
        assert.ok(reply.kind === 'chunk' && reply.type === nbd.REPLY_TYPE_ERROR);
        assert.equal(reply.payload.readUInt32BE(), 1);
        assert.match(reply.payload.toString('latin1', 6), /read-only/);
      }
      assert.deepEqual(target.calls, []);
      client.destroy();
    });

    test('read errors: whole small replies, chunks with their offset, the rest of the data', async () => {
      const { target, attach } = await serve();
      pattern(4 * MIB, 4).copy(target.data);
      target.fault = { errno: 5, from: 2 * MIB, to: 2 * MIB + 1 };
      const simple = await attach();
      simple.request({ type: nbd.CMD_READ, offset: 2 * MIB, length: 4096 });
      assert.deepEqual(await simple.reply(), { kind: 'simple', cookie: 0n, errno: 5 });
      const structured = await attach({ structured: true });
      const content = await readChunks(structured, { offset: MIB, length: 2 * MIB });
      assert.equal(content.errors.length, 1);
      const bad = content.errors.map((error) => {
        assert.ok(error.kind === 'chunk' && error.type === nbd.REPLY_TYPE_ERROR_OFFSET);
        const text = error.payload.readUInt16BE(4);
        return Number(error.payload.readBigUInt64BE(6 + text));
      });
      assert.deepEqual(bad, [2 * MIB]);
      assert.ok(
        content.bytes.subarray(0, MIB).equals(target.data.subarray(MIB, 2 * MIB)),
        'what could be read came',
      );
      assert.equal((await readChunks(structured, { offset: 0, length: 4096 })).errors.length, 0);
      simple.destroy();
      structured.destroy();
    });

    test('a large unfragmented read that fails in the middle ends as the protocol demands', async () => {
      const { target, attach } = await serve();
      const length = 8 * MIB;
      target.fault = { errno: 5, from: 4 * MIB, to: 4 * MIB + 1 };
      const structured = await attach({ structured: true });
      const flags = nbd.CMD_FLAG_DF;
      const content = await readChunks(structured, { offset: 0, length, flags });
      assert.equal(content.errors.length, 1);
      assert.equal(content.chunks, 1);
      const simple = await attach();
      simple.request({ type: nbd.CMD_READ, offset: 0, length });
      const end = await simple.untilEnd();
      assert.ok(end.length < length, 'a hard disconnect before the end of the data');
      // A fault in the first piece leaves room for an ordinary error.
      target.fault = { errno: 5, from: 0, to: 1 };
      const again = await attach();
      again.request({ type: nbd.CMD_READ, offset: 0, length });
      assert.deepEqual(await again.reply(), { kind: 'simple', cookie: 0n, errno: 5 });
      target.fault = undefined;
      assert.equal((await read(again, 0, length)).length, length);
      structured.destroy();
      again.destroy();
    });

    test('a large write that fails is answered once, with its payload skipped', async () => {
      const { target, attach } = await serve();
      target.fault = { errno: 28, from: MIB, to: MIB + 1 };
      const client = await attach();
      client.request({ type: nbd.CMD_WRITE, offset: 0, data: pattern(16 * MIB, 6), cookie: 9n });
      assert.deepEqual(await client.reply(), { kind: 'simple', cookie: 9n, errno: 28 });
      target.fault = undefined;
      await write(client, 0, pattern(4096, 7));
      client.destroy();
    });

    test('zeros of a long structured read come as holes, not with DF', async () => {
      const { target, attach } = await serve();
      target.data.fill(1, 600_000, 600_001);
      const client = await attach({ structured: true });
      client.request({ type: nbd.CMD_READ, offset: 0, length: 256 * KIB });
      const hole = await client.reply();
      assert.ok(hole.kind === 'chunk' && hole.type === nbd.REPLY_TYPE_OFFSET_HOLE);
      const content = await readChunks(client, { offset: 0, length: MIB });
      assert.ok(content.bytes.equals(target.data.subarray(0, MIB)));
      const flags = nbd.CMD_FLAG_DF;
      client.request({ type: nbd.CMD_READ, offset: 0, length: 64 * KIB, flags });
      const data = await client.reply();
      assert.ok(data.kind === 'chunk' && data.type === nbd.REPLY_TYPE_OFFSET_DATA);
      client.destroy();
    });

    test('BLOCK_STATUS tells data from holes, from the first byte asked to the last', async () => {
      const { attach } = await serve();
      const client = await attach({ structured: true, contexts: ['base:allocation'] });
      await write(client, 8192, pattern(4096, 1));
      const status = async (flags: number, offset: number, length: number): Promise<number[]> => {
        client.request({ type: nbd.CMD_BLOCK_STATUS, flags, offset, length });
        const reply = await client.reply();
        assert.ok(reply.kind === 'chunk' && reply.type === nbd.REPLY_TYPE_BLOCK_STATUS);
        assert.equal(reply.payload.readUInt32BE(), nbd.ALLOCATION_CONTEXT_ID);
        const numbers: number[] = [];
        for (let at = 4; at < reply.payload.length; at += 4) {
          numbers.push(reply.payload.readUInt32BE(at));
        }
        return numbers;
      };
      assert.deepEqual(await status(0, 100, 20_000), [8092, 3, 4096, 0, 7812, 3]);
      assert.deepEqual(await status(nbd.CMD_FLAG_REQ_ONE, 100, 20_000), [8092, 3]);
      assert.deepEqual(await status(0, 8193, 10), [10, 0]);
      const without = await attach({ structured: true });
      without.request({ type: nbd.CMD_BLOCK_STATUS, length: 4096 });
      const reply = await without.reply();
      assert.ok(reply.kind === 'chunk' && reply.type === nbd.REPLY_TYPE_ERROR);
      client.destroy();
      without.destroy();
    });

    test('DISC: what was asked before is answered, then the connection ends', async () => {
      const { target, attach } = await serve();
      const client = await attach();
      target.held = true;
      client.request({ type: nbd.CMD_WRITE, offset: 0, data: pattern(4096, 1), cookie: 1n });
      client.request({ type: nbd.CMD_READ, offset: 0, length: 4096, cookie: 2n });
      client.request({ type: nbd.CMD_DISC });
      client.request({ type: nbd.CMD_WRITE, offset: 8192, data: pattern(4096, 1) });
      await until(() => target.inFlight === 2);
      await sleep(20);
      target.held = false;
      harness.env.io.yieldTurn();
      assert.equal((await client.untilEnd()).length, 16 + 16 + 4096);
      assert.equal(target.calls.length, 2, 'nothing after DISC is looked at');
    });

    test('once a connection is over, none of its requests starts', async () => {
      const { target, attachment, attach } = await serve({ requestCountMax: 2 });
      const client = await attach();
      target.held = true;
      for (let index = 0; index < 10; index += 1) {
        client.request({ type: nbd.CMD_WRITE, offset: index * 4096, data: pattern(4096, 1) });
      }
      // A large one is half received when the client vanishes.
      client.request({ type: nbd.CMD_WRITE, offset: MIB, length: 2 * MIB });
      client.send(pattern(MIB, 1));
      await until(() => target.inFlight === 2 && attachment.waiting.count >= 8);
      client.destroy();
      const other = await attach();
      other.request({ type: nbd.CMD_WRITE, offset: 0, data: pattern(4096, 2), cookie: 5n });
      await until(() => [...attachment.connections].some((each) => each.closed));
      target.held = false;
      harness.env.io.yieldTurn();
      assert.deepEqual(await other.reply(), { kind: 'simple', cookie: 5n, errno: 0 });
      assert.equal(target.calls.length, 3);
      assert.ok(target.data.subarray(0, 4096).equals(pattern(4096, 2)));
      await until(() => attachment.connections.size === 1);
      other.destroy();
      await until(() => attachment.isEmpty);
    });

    test('clients that do not read their replies stop only themselves', async () => {
      const { target, attachment, attach } = await serve();
      pattern(16 * MIB, 8).copy(target.data);
      const lazy = await Promise.all([0, 1, 2, 3].map(() => attach()));
      const lengths = [4096, 65_536, 262_144, 2 * MIB];
      for (const [index, client] of lazy.entries()) {
        client.pause();
        for (let count = 0; count < 600; count += 1) {
          client.request({ type: nbd.CMD_READ, length: lengths[index]!, cookie: BigInt(count) });
        }
      }
      await sleep(200);
      const busy = await attach({ structured: true });
      for (let round = 0; round < 100; round += 1) {
        await write(busy, 20 * MIB, pattern(100_000, round));
        const content = await readChunks(busy, { offset: 20 * MIB, length: 100_000 });
        assert.ok(content.bytes.equals(pattern(100_000, round)));
      }
      assert.ok(target.calls.length < 2000, 'what is not taken is not read');
      // Those that take their replies in the end get them all.
      for (const [index, client] of lazy.entries()) {
        client.resume();
        if (index === 3) client.destroy();
        else {
          for (let count = 0; count < 600; count += 1) {
            assert.equal((await client.reply()).kind, 'simple');
            const data = await client.receive(lengths[index]!);
            assert.ok(data.equals(target.data.subarray(0, lengths[index])));
          }
        }
      }
      for (const client of lazy) client.destroy();
      busy.destroy();
      await until(() => attachment.isEmpty);
    });

    test('draining: what is under way is answered, the rest refused, then all is flushed', async () => {
      const served = await serve();
      const { target, attachment, attach } = served;
      const busy = await attach();
      const idle = await attach();
      const negotiating = await NbdRawClient.connect(served.path);
      await negotiating.greet();
      target.held = true;
      busy.request({ type: nbd.CMD_WRITE, offset: 0, data: pattern(4096, 1), cookie: 1n });
      await until(() => target.inFlight === 1);
      const closed = harness.frontend.close(attachment);
      assert.equal((await idle.untilEnd()).length, 0);
      assert.equal((await negotiating.untilEnd()).length, 0);
      busy.request({ type: nbd.CMD_WRITE, offset: 4096, data: pattern(4096, 1), cookie: 2n });
      const refused = await busy.reply();
      assert.ok(refused.kind === 'simple' && refused.errno === 108 && refused.cookie === 2n);
      target.held = false;
      harness.env.io.yieldTurn();
      assert.deepEqual(await busy.reply(), { kind: 'simple', cookie: 1n, errno: 0 });
      assert.equal((await busy.untilEnd()).length, 0);
      assert.equal(await closed, 0);
      assert.equal(target.calls.at(-1)?.call, 'flush');
      await assert.rejects(attach(), 'nobody listens any more');
    });

    test('draining does not wait for ever for a client that takes nothing', async () => {
      const { attachment, attach } = await serve();
      const client = await attach();
      client.pause();
      for (let count = 0; count < 100; count += 1) {
        client.request({ type: nbd.CMD_READ, length: MIB });
      }
      await sleep(50);
      const start = performance.now();
      assert.equal(await harness.frontend.close(attachment), 0);
      const took = performance.now() - start;
      assert.ok(took > 3000 && took < 8000, `${took} ms`);
      client.destroy();
    });

    test('a 65th client waits until one of the others ends', async () => {
      const { path, attach, attachment } = await serve();
      const clients = await Promise.all(Array.from({ length: 64 }, () => attach()));
      const next = await NbdRawClient.connect(path);
      await sleep(50);
      assert.equal(attachment.connections.size, 64);
      clients[7]!.destroy();
      await next.greet();
      assert.equal(attachment.connections.size, 64);
      next.destroy();
      for (const client of clients) client.destroy();
      await until(() => attachment.isEmpty);
    });

    test('all of it ends, with nothing left over', async () => {
      await harness.stop();
    });
  });
}
