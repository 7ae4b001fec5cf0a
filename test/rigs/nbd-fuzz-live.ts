/**
 * Fuzzes a live NBD frontend over volumes in memory, on real sockets. Each client has a volume of its own, so that what it reads and what the
 * volume holds can be predicted; after each case, however it went, the next client has to find all in order.
 */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import net from 'node:net';

import { IoAsync } from '../../src/env/io-async.ts';
import { Prng } from '../../src/lib/prng.ts';
import { NbdHarness, type Served } from '../nbd-harness.ts';
import { type Mode, type Prediction, checkReplies, predict } from './nbd-oracle.ts';
import {
  handshakeFor,
  mutate,
  randomOptions,
  randomPieces,
  randomTransmission,
} from './nbd-streams.ts';

const SIZE_BYTES = 2_097_152;
const GREETING = 'NBDMAGICIHAVEOPT\0\x03';
/** The whole volume is compared after every so many cases. */
const COMPARE_EVERY = 20;

export type LiveFuzzResult = {
  readonly caseCount: number;
  readonly answeredCount: number;
  readonly residentGrowthBytes: number;
};

/** Runs cases with `clients` at a time. Throws with the case's seed on the first thing that is wrong. */
export async function fuzzLive(options: {
  readonly io: 'auto' | 'node';
  readonly seed: number;
  readonly caseCount: number;
  readonly clients: number;
}): Promise<LiveFuzzResult> {
  const harness = new NbdHarness(options.io);
  // A timer of the Io's own: one of the runtime's would wait for the reactor's next tick.
  const ioAsync = new IoAsync(harness.env.io);
  const pause = (): Promise<void> => ioAsync.sleep(1);
  let next = 0;
  let answeredCount = 0;
  let residentBytes = 0;
  const work = async (): Promise<void> => {
    const served = await harness.serve({ sizeBytes: SIZE_BYTES, recordsCalls: false });
    const client = new FuzzClient(served, pause);
    while (next < options.caseCount) {
      const seed = options.seed + next;
      next += 1;
      // Pools and buffers have been touched by then: what grows later is a leak.
      if (next === Math.ceil(options.caseCount / 4)) residentBytes = process.memoryUsage.rss();
      try {
        const answered = await client.run(seed);
        answeredCount += answered;
      } catch (error) {
        next = options.caseCount;
        throw new Error(`case with --seed ${seed} --cases 1`, { cause: error });
      }
    }
    await client.settled();
  };
  try {
    await Promise.all(Array.from({ length: options.clients }, work));
    const residentGrowthBytes = process.memoryUsage.rss() - residentBytes;
    return { caseCount: next, answeredCount, residentGrowthBytes };
  } finally {
    await harness.stop();
  }
}

class FuzzClient {
  readonly #served: Served;
  readonly #model = Buffer.alloc(SIZE_BYTES);
  readonly #pause: () => Promise<void>;
  #count = 0;

  constructor(served: Served, pause: () => Promise<void>) {
    this.#served = served;
    this.#pause = pause;
  }

  /** Runs one case; resolves with the number of requests that were answered. */
  async run(seed: number): Promise<number> {
    const prng = new Prng(seed);
    this.#count += 1;
    if (prng.chance(25)) {
      await this.#negotiate(prng);
      return 0;
    }
    return this.#transmit(prng);
  }

  /** Resolves when nothing is left of any client. */
  async settled(): Promise<void> {
    while (!this.#served.attachment.isEmpty) await this.#pause();
    assert.equal(this.#served.attachment.inFlight, 0);
  }

  /** Garbage in the handshake: greeting and option replies, or nothing. */
  async #negotiate(prng: Prng): Promise<void> {
    const { name } = this.#served;
    const plain = prng.chance(50)
      ? randomOptions(prng, name)
      : handshakeFor({ structured: false, contexts: prng.chance(50) }, name);
    const stream = prng.chance(80) ? mutate(prng, plain) : plain;
    const received = await exchange(this.#served.path, randomPieces(prng, stream), {
      cut: true,
      pause: this.#pause,
    });
    const expected = GREETING.slice(0, received.length);
    assert.equal(received.toString('latin1', 0, expected.length), expected);
    await this.#resync();
  }

  async #transmit(prng: Prng): Promise<number> {
    const { path, name, target } = this.#served;
    const structured = prng.chance(60);
    const mode: Mode = { structured, contexts: structured && prng.chance(50) };
    const stream = randomTransmission(prng, SIZE_BYTES);
    const prediction = predict(stream, this.#model, mode);
    const vanishes = prediction.ending !== 'disconnect' || prng.chance(10);
    const pieces = [handshakeFor(mode, name), ...randomPieces(prng, stream)];
    const received = await exchange(path, pieces, { cut: vanishes, pause: this.#pause });
    const answered = this.#check(received, prediction, { mode, cut: vanishes });
    if (vanishes) await this.#resync();
    else if (this.#count % COMPARE_EVERY === 0) {
      assert.ok(target.data.equals(this.#model), 'the volume holds what was acknowledged');
    }
    return answered;
  }

  #check(
    received: Buffer,
    prediction: Prediction,
    options: { readonly mode: Mode; readonly cut: boolean },
  ): number {
    const at = transmissionStart(received);
    if (at !== undefined) return checkReplies(received.subarray(at), prediction, options);
    assert.ok(options.cut, 'the handshake is answered');
    return 0;
  }

  /** The client vanished: which of its last requests were carried out is open. */
  async #resync(): Promise<void> {
    await this.settled();
    this.#served.target.data.copy(this.#model);
  }
}

/** Where the replies to options end; undefined if they are cut off. Ends with the ACK to GO (option 7). */
function transmissionStart(received: Buffer): number | undefined {
  let at = GREETING.length;
  for (;;) {
    if (received.length - at < 20) return undefined;
    assert.equal(received.readBigUInt64BE(at), 0x3e889045565a9n);
    const option = received.readUInt32BE(at + 8);
    const type = received.readUInt32BE(at + 12);
    at += 20 + received.readUInt32BE(at + 16);
    if (at > received.length) return undefined;
    if (option === 7 && type === 1) return at;
  }
}

/** Sends the pieces and returns all that came back until the end: the server's, or with `cut` the client's own after a while. */
async function exchange(
  path: string,
  pieces: readonly Buffer[],
  options: { readonly cut: boolean; readonly pause: () => Promise<void> },
): Promise<Buffer> {
  const socket = net.connect({ path, allowHalfOpen: false });
  const received: Buffer[] = [];
  socket.on('data', (data: Buffer) => received.push(data));
  // The server may end first, with bytes of ours unread: that is a reset, and no fault.
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const piece of pieces) {
    if (!socket.write(piece) || pieces.length > 3) await options.pause();
  }
  if (options.cut) {
    await options.pause();
    socket.destroy();
  }
  await closed;
  return Buffer.concat(received);
}
