import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';

import { ScriptedNbdServer, formatReply } from '../../test/rigs/scripted-nbd-server.ts';
import { IoAsync } from '../env/io-async.ts';
import type { Io } from '../env/io.ts';
import { type NodeEnv, openEnv } from '../env/node/open-env.ts';
import { EIO, ENOSPC, ESHUTDOWN } from '../model/errno.ts';
import { type Berth, BERTH_INDEX_COUNT, Berths } from './berths.ts';
import { NbdClient, nbdArenaBytes } from './nbd-client.ts';

const SLOT_COUNT = 16;
const DATA_BYTES = 64 * 1024;
const DATA_AT = 1024 * 1024;
const REP_ERR_UNKNOWN = 0x8000_0006;
const REP_ERR_SHUTDOWN = 0x8000_0007;
const FLUSH = 3;

/** A client with its slots' data, and what it was told. */
class Trial {
  readonly server: ScriptedNbdServer;
  readonly client: NbdClient;
  readonly bytes: Uint8Array;
  /** "slot errno", in the order in which they ended. */
  readonly done: string[] = [];
  readonly #await: IoAsync;

  constructor(io: Io, parts: { readonly directory: string; readonly ioAsync: IoAsync }) {
    const socketPath = path.join(parts.directory, `${Math.random()}.sock`);
    this.#await = parts.ioAsync;
    this.server = new ScriptedNbdServer(socketPath);
    this.bytes = new Uint8Array(io.memory.buffer);
    const berths = new Berths(io, { firstAddress: 4096, berthBytes: 512 * 1024, count: 1 });
    const make = (berth: Berth): NbdClient =>
      new NbdClient({
        berth,
        firstIndex: 0,
        address: berth.address,
        slotCount: SLOT_COUNT,
        socketPath,
        exportName: 'volume',
        sizeBytes: 2 ** 20,
        onDone: (slot, errno) => this.done.push(`${slot} ${errno}`),
        onState: () => {},
      });
    this.client = berths.take(make)!;
  }

  address(slot: number): number {
    return DATA_AT + slot * DATA_BYTES;
  }

  data(slot: number): Buffer {
    return Buffer.from(this.bytes.subarray(this.address(slot), this.address(slot) + DATA_BYTES));
  }

  write(slot: number, lengthBytes = 4096): void {
    this.bytes.fill(slot + 1, this.address(slot), this.address(slot) + lengthBytes);
    this.client.write(slot, slot * 4096, { address: this.address(slot), lengthBytes });
  }

  read(slot: number, lengthBytes: number): void {
    this.bytes.fill(0, this.address(slot), this.address(slot) + DATA_BYTES);
    this.client.read(slot, slot * 4096, { address: this.address(slot), lengthBytes });
  }

  sleep(delayMs: number): Promise<void> {
    return this.#await.sleep(delayMs);
  }

  async until(condition: () => boolean): Promise<void> {
    for (let i = 0; !condition(); i += 1) {
      assert.ok(i < 1000, 'waited 5 s in vain');
      await this.sleep(5);
    }
  }

  async end(): Promise<void> {
    this.server.close();
    await new Promise<void>((resolve) => {
      this.client.giveUp('the test is over', resolve);
      void this.sleep(1);
    });
  }
}

assert.ok(nbdArenaBytes(SLOT_COUNT) < 512 * 1024 && BERTH_INDEX_COUNT > 5);

for (const kind of ['io_uring', 'node'] as const) {
  const skip = refusalOf(kind);
  suite(
    `NbdClient on ${kind}`,
    { ...(skip === undefined ? {} : { skip }), timeout: 60_000 },
    () => {
      let env: NodeEnv;
      let ioAsync: IoAsync;
      let running: Promise<void>;
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-nbd-'));

      before(() => {
        env = openEnv({ io: kind, memoryBytes: 4 * 2 ** 20 });
        ioAsync = new IoAsync(env.io);
        running = env.io.run();
      });
      after(async () => {
        env.io.stop();
        await running;
        fs.rmSync(directory, { recursive: true });
      });

      const trial = (name: string, use: (trial: Trial) => Promise<void>): void => {
        test(name, async () => {
          const one = new Trial(env.io, { directory, ioAsync });
          await use(one);
          await one.end();
        });
      };

      trial(
        'sends again what a dead engine left unanswered, in its order, before what came later',
        resends,
      );
      trial('starts a read over whose data was cut short', cutShort);
      trial('takes ESHUTDOWN as the end of a connection, not as an answer', shuttingDown);
      trial('puts together replies however they arrive', pieces);
      trial(
        'waits while nobody listens, and while the engine shuts down or offers too little',
        waits,
      );
      trial('fails everything once the export is unknown', unknown);
      trial('fails everything when it is given up while it waits', givenUp);
      trial('drops an engine that answers what was not asked', strangeAnswers);
    },
  );
}

function refusalOf(kind: 'io_uring' | 'node'): string | undefined {
  try {
    openEnv({ io: kind, memoryBytes: 65_536 });
    return undefined;
  } catch (error) {
    return String(error);
  }
}

async function resends(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const first = await trial.server.accept();
  for (const slot of [5, 3, 9, 0, 7]) trial.write(slot);
  trial.client.flush(2);
  await first.seen(6);
  first.reply(first.requests[1]!);
  first.reply(first.requests[3]!, ENOSPC);
  await trial.until(() => trial.done.length === 2);
  first.socket.destroy();
  // The slot that was answered is used again, and comes after all that is unanswered.
  trial.write(3);
  const second = await trial.server.accept();
  await second.seen(5);
  assert.deepEqual(
    second.requests.map(({ cookie }) => Number(cookie)),
    [5, 9, 7, 2, 3],
  );
  assert.equal(second.requests[3]!.type, FLUSH);
  assert.deepEqual(second.requests[0]!.data, Buffer.alloc(4096, 6));
  for (const request of second.requests) second.reply(request);
  await trial.until(() => trial.done.length === 7);
  assert.deepEqual(trial.done, ['3 0', `0 ${ENOSPC}`, '5 0', '9 0', '7 0', '2 0', '3 0']);
  assert.equal(trial.client.connectCount, 2);
}

async function cutShort(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const first = await trial.server.accept();
  trial.read(1, DATA_BYTES);
  await first.seen(1);
  const reply = formatReply(first.requests[0]!, 0, Buffer.alloc(DATA_BYTES, 7));
  first.socket.end(reply.subarray(0, 40_000));
  const second = await trial.server.accept();
  await second.seen(1);
  assert.deepEqual(trial.done, []);
  second.reply(second.requests[0]!, 0, Buffer.alloc(DATA_BYTES, 8));
  await trial.until(() => trial.done.length === 1);
  assert.deepEqual(trial.data(1), Buffer.alloc(DATA_BYTES, 8));
}

async function shuttingDown(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const first = await trial.server.accept();
  trial.write(4);
  await first.seen(1);
  first.reply(first.requests[0]!, ESHUTDOWN);
  const second = await trial.server.accept();
  await second.seen(1);
  assert.deepEqual(trial.done, []);
  second.reply(second.requests[0]!);
  await trial.until(() => trial.done.length === 1);
  assert.deepEqual(trial.done, ['4 0']);
}

async function pieces(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const one = await trial.server.accept();
  for (let slot = 0; slot < 8; slot += 1) trial.read(slot, slot % 2 === 0 ? 4096 : DATA_BYTES);
  await one.seen(8);
  const all = Buffer.concat(
    one.requests.map((request, slot) =>
      formatReply(request, 0, Buffer.alloc(request.lengthBytes, slot + 10)),
    ),
  );
  for (let at = 0; at < all.length;) {
    const end = at + 1 + Math.floor(Math.random() * (at % 3 === 0 ? 20 : 30_000));
    one.socket.write(all.subarray(at, end));
    if (at % 2 === 0) await trial.sleep(1);
    at = end;
  }
  await trial.until(() => trial.done.length === 8);
  for (let slot = 0; slot < 8; slot += 1) {
    const lengthBytes = slot % 2 === 0 ? 4096 : DATA_BYTES;
    assert.deepEqual(
      trial.data(slot).subarray(0, lengthBytes),
      Buffer.alloc(lengthBytes, slot + 10),
    );
    assert.ok(
      trial
        .data(slot)
        .subarray(lengthBytes)
        .every((byte) => byte === 0),
    );
  }
}

async function waits(trial: Trial): Promise<void> {
  trial.client.start();
  trial.write(1);
  await trial.sleep(60);
  assert.deepEqual(trial.done, []);
  assert.match(stateOf(trial), /^waiting nobody listens/);
  trial.server.refusal = REP_ERR_SHUTDOWN;
  await trial.server.listen();
  await trial.server.accept();
  await trial.until(() => stateOf(trial).startsWith('waiting it answered the handshake'));
  trial.server.refusal = undefined;
  trial.server.sizeBytes = 4096;
  await trial.until(() => stateOf(trial).startsWith('waiting it offers 4096 bytes'));
  trial.server.sizeBytes = 2 ** 21;
  await trial.until(() => stateOf(trial) === 'serving');
  let connection = await trial.server.accept();
  while (connection.socket.destroyed) connection = await trial.server.accept();
  // Those refused before may still be among them: the one that serves has seen the request.
  await trial.until(() => connection.requests.length === 1 || connection.socket.readableEnded);
  while (connection.requests.length === 0) connection = await trial.server.accept();
  connection.reply(connection.requests[0]!);
  await trial.until(() => trial.done.length === 1);
}

async function unknown(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const first = await trial.server.accept();
  trial.write(1);
  trial.client.flush(2);
  await first.seen(2);
  trial.server.refusal = REP_ERR_UNKNOWN;
  first.socket.destroy();
  await trial.until(() => trial.done.length === 2);
  assert.deepEqual(trial.done, [`1 ${EIO}`, `2 ${EIO}`]);
  assert.match(stateOf(trial), /^ended/);
  trial.write(3);
  assert.equal(trial.done.length, 2, 'never inside the call that made it');
  await trial.until(() => trial.done.length === 3);
  assert.equal(trial.done[2], `3 ${EIO}`);
}

async function givenUp(trial: Trial): Promise<void> {
  trial.client.start();
  trial.write(1);
  await trial.sleep(20);
  await trial.end();
  assert.deepEqual(trial.done, [`1 ${EIO}`]);
}

async function strangeAnswers(trial: Trial): Promise<void> {
  await trial.server.listen();
  trial.client.start();
  const first = await trial.server.accept();
  trial.write(1);
  await first.seen(1);
  first.reply({ ...first.requests[0]!, cookie: 2n });
  const second = await trial.server.accept();
  await second.seen(1);
  second.socket.write(Buffer.alloc(16, 9));
  const third = await trial.server.accept();
  await third.seen(1);
  third.reply(third.requests[0]!);
  third.reply(third.requests[0]!);
  await trial.server.accept();
  assert.deepEqual(trial.done, ['1 0']);
}

function stateOf(trial: Trial): string {
  const { state } = trial.client;
  return state.kind === 'serving' ? 'serving' : `${state.kind} ${state.problem}`;
}
