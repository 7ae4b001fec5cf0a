import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import * as nbd from '../../wire/nbd/constants.ts';
import { Prng } from '../../lib/prng.ts';
import { pattern, read, readChunks, until, write } from '../../../test/nbd-exchanges.ts';
import { NbdHarness, type Served } from '../../../test/nbd-harness.ts';

const KIB = 1024;
const MIB = 1024 * 1024;

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

    test('32 MiB go through in pieces that the target takes, each metered', async () => {
      const { target, attach, attachment } = await serve();
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
      assert.ok(target.calls.every((call) => call.lengthBytes <= 256 * KIB));
      for (const [operation, bytes] of [
        ['write', 32 * MIB],
        ['read', 96 * MIB],
      ] as const) {
        const metered = attachment.meter.counts(operation);
        assert.equal(metered.count, target.calls.filter((call) => call.call === operation).length);
        assert.equal(metered.bytes, bytes);
        assert.equal(
          metered.latency.reduce((sum, count) => sum + count),
          metered.count,
        );
      }
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

    test('a reply that becomes ready while a large one is being sent waits for its end', async () => {
      const { target, attach } = await serve();
      pattern(MIB, 9).copy(target.data);
      for (const structured of [false, true]) {
        const client = await attach({ structured });
        target.late = { from: 32 * MIB, to: 33 * MIB };
        client.pause();
        client.request({ type: nbd.CMD_READ, offset: 32 * MIB, length: 4096, cookie: 1n });
        const flags = structured ? nbd.CMD_FLAG_DF : 0;
        client.request({ type: nbd.CMD_READ, offset: 0, length: 8 * MIB, flags, cookie: 2n });
        // Begun, and stuck in the socket.
        await until(() => target.calls.length >= 4);
        await sleep(20);
        target.late = undefined;
        harness.env.io.yieldTurn();
        await until(() => target.inFlight === 0);
        client.resume();
        if (structured) {
          const large = await client.reply();
          assert.ok(large.kind === 'chunk' && large.cookie === 2n);
          assert.ok(large.payload.subarray(8).equals(target.data.subarray(0, 8 * MIB)));
          // The end of the large reply is a chunk of its own, which the small one may overtake.
          const rest = [await client.reply(), await client.reply()];
          assert.deepEqual(new Set(rest.map(({ cookie }) => cookie)), new Set([1n, 2n]));
        } else {
          for (const [cookie, length] of [
            [2n, 8 * MIB],
            [1n, 4096],
          ] as const) {
            assert.deepEqual(await client.reply(), { kind: 'simple', cookie, errno: 0 });
            const offset = cookie === 1n ? 32 * MIB : 0;
            const data = await client.receive(length);
            assert.ok(data.equals(target.data.subarray(offset, offset + length)));
          }
        }
        target.calls.length = 0;
        client.destroy();
      }
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
      await write(client, 0, pattern(MIB, 4), nbd.CMD_FLAG_FUA);
      const pieces = target.calls.slice(5);
      assert.ok(pieces.length > 1 && pieces.every(({ call, fua }) => call === 'write' && fua));
      client.destroy();
    });

    test('a flush of any of several connections reaches the target, which flushes for all', async () => {
      const { target, attach } = await serve();
      const clients = [await attach(), await attach(), await attach()];
      for (const [index, client] of clients.entries()) {
        await write(clients[0] ?? client, 4096 * index, pattern(4096, index));
        target.held = true;
        client.request({ type: nbd.CMD_FLUSH });
        let isAnswered = false;
        const reply = client.reply().finally(() => (isAnswered = true));
        await until(() => target.calls.at(-1)?.call === 'flush');
        await sleep(10);
        assert.ok(!isAnswered, 'it is not answered before the target has flushed');
        target.held = false;
        harness.env.io.yieldTurn();
        assert.deepEqual(await reply, { kind: 'simple', cookie: 0n, errno: 0 });
      }
      assert.equal(target.calls.filter(({ call }) => call === 'flush').length, 3);
      for (const client of clients) client.destroy();
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

    test('all of it ends, with nothing left over', async () => {
      await harness.stop();
    });
  });
}
