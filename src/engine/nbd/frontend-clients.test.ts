import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import * as nbd from '../../wire/nbd/constants.ts';
import { pattern, readChunks, until, write } from '../../../test/nbd-exchanges.ts';
import { NbdHarness, type Served } from '../../../test/nbd-harness.ts';
import { NbdRawClient } from '../../../test/nbd-raw-client.ts';

const MIB = 1024 * 1024;

for (const kind of ['auto', 'node'] as const) {
  void suite(`clients of NbdFrontend on ${kind}`, () => {
    const harness = new NbdHarness(kind);
    const serve = (options: Parameters<NbdHarness['serve']>[0] = {}): Promise<Served> =>
      harness.serve(options);

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

    test('an attachment whose last flush fails ends with its errno', async () => {
      const { target, attachment } = await serve();
      target.fault = { errno: 5, from: -1, to: 1 };
      assert.equal(await harness.frontend.close(attachment), 5);
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
