/**
 * One run of an Io under test: gives each operation its own index, and checks rules 2 and 3 of env/io.ts on every completion.
 * For compliance suites and tests only.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Env } from './env.ts';
import type { Io, Port } from './io.ts';
import type { SocketAddress } from './tcp-address.ts';

/** An Env to test, and where it may make files. */
export type TrialSetup = {
  readonly env: Env;
  /** A path for a fresh file or socket; short enough for a socket. */
  path(name: string): string;
  /** Called when the test is over. */
  cleanUp(): Promise<void>;
  /** Where time stands still by itself: lets the simulator's world go on until `work` is settled. Real Envs have none. */
  drive?<T>(work: Promise<T>): Promise<T>;
};

export type MakeTrialSetup = () => Promise<TrialSetup>;

export type SocketFamily = 'unix' | 'tcp';

/** Declares one test of a compliance suite. */
export type Check = (title: string, body: (trial: Trial) => Promise<void>) => void;

/** A hang guard, no claim of speed. */
const HANG_MS = 60_000;

/** Each test that the result declares has a setup of its own. */
export function checksWith(makeSetup: MakeTrialSetup): Check {
  return (title, body) => {
    test(title, { timeout: HANG_MS }, async () => {
      const setup = await makeSetup();
      try {
        await new Trial(setup).run(body);
      } finally {
        await setup.cleanUp();
      }
    });
  };
}

/** One port of an Io whose completions can be awaited, and a folder of its own. */
export class Trial {
  readonly env: Env;
  readonly io: Io;
  readonly port: Port;
  readonly path: (name: string) => string;
  readonly #drive: <T>(work: Promise<T>) => Promise<T>;
  readonly #waiters = new Map<number, (result: number) => void>();
  #indexNext = 0;
  #submitting = false;
  #failure: Error | undefined;

  constructor(setup: TrialSetup) {
    this.env = setup.env;
    this.io = setup.env.io;
    this.path = (name) => setup.path(name);
    this.#drive = (work) => setup.drive?.(work) ?? work;
    this.port = this.io.port((index, result) => this.#onCompletion(index, result));
  }

  /** Submits one operation; resolves with its raw result. */
  do(submit: (port: Port, index: number) => void): Promise<number> {
    return new Promise((resolve) => {
      const index = this.#indexNext;
      this.#indexNext += 1;
      this.#waiters.set(index, resolve);
      this.#submitting = true;
      submit(this.port, index);
      this.#submitting = false;
    });
  }

  /** The index that the next {@link do} will use. */
  get indexNext(): number {
    return this.#indexNext;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.io.memory.buffer);
  }

  read(fd: number, positionBytes: number, address: number, lengthBytes: number): Promise<number> {
    return this.do((port, index) =>
      this.io.read(port, index, fd, positionBytes, address, lengthBytes),
    );
  }

  write(fd: number, positionBytes: number, address: number, lengthBytes: number): Promise<number> {
    return this.do((port, index) =>
      this.io.write(port, index, fd, positionBytes, address, lengthBytes),
    );
  }

  receive(socket: number, address: number, lengthBytes: number): Promise<number> {
    return this.do((port, index) => this.io.receive(port, index, socket, address, lengthBytes));
  }

  /** Sends one segment. */
  send(socket: number, address: number, lengthBytes: number): Promise<number> {
    const segments = Uint32Array.of(address, lengthBytes);
    return this.do((port, index) => this.io.send(port, index, socket, segments, 0, 1));
  }

  accept(listener: number): Promise<number> {
    return this.do((port, index) => this.io.accept(port, index, listener));
  }

  connect(to: SocketAddress): Promise<number> {
    return this.do((port, index) => this.io.connect(port, index, to));
  }

  flush(fd: number): Promise<number> {
    return this.do((port, index) => this.io.flush(port, index, fd));
  }

  sleep(delayMs: number): Promise<number> {
    return this.do((port, index) => this.io.timer(port, index, delayMs));
  }

  close(fd: number): Promise<number> {
    return this.do((port, index) => this.io.close(port, index, fd));
  }

  /** A fresh listener, and where it is reached. */
  async listen(family: SocketFamily): Promise<{ listener: number; address: SocketAddress }> {
    const { files } = this.env;
    if (family === 'unix') {
      const address = this.path('listener');
      return { listener: await files.listen(address), address };
    }
    const host = '127.0.0.1';
    const { fd, port } = await files.listenTcp({ host, port: 0 });
    return { listener: fd, address: { host, port } };
  }

  /** A listener and the two ends of one connection to it. */
  async connection(family: SocketFamily): Promise<{
    listener: number;
    client: number;
    server: number;
    address: SocketAddress;
  }> {
    const { listener, address } = await this.listen(family);
    const [server, client] = await Promise.all([this.accept(listener), this.connect(address)]);
    assert.ok(server >= 0, `accept gives ${server}`);
    assert.ok(client >= 0, `connect gives ${client}`);
    assert.notEqual(server, client);
    return { listener, client, server, address };
  }

  /** Runs the reactor around `body`, then checks that each completion was due and nothing is left over. */
  async run(body: (trial: Trial) => Promise<void>): Promise<void> {
    await this.#drive(this.#runReactor(body));
    if (this.#failure !== undefined) throw this.#failure;
    assert.equal(this.#waiters.size, 0, 'every operation has completed');
  }

  async #runReactor(body: (trial: Trial) => Promise<void>): Promise<void> {
    const running = this.io.run();
    try {
      // Whichever ends first: a reactor that throws never ends the body.
      await Promise.race([
        body(this),
        running.then(() => assert.fail('the reactor ended before the test')),
      ]);
    } finally {
      this.io.stop();
    }
    await running;
  }

  #onCompletion(index: number, result: number): void {
    const waiter = this.#waiters.get(index);
    if (this.#submitting) this.#failure ??= new Error('a completion inside a submitting call');
    if (waiter === undefined) this.#failure ??= new Error(`a second completion of ${index}`);
    this.#waiters.delete(index);
    waiter?.(result);
    this.io.yieldTurn();
  }
}

/** Bytes that show where they belong: each differs from its neighbours and from those of another seed. */
export function fillPattern(bytes: Uint8Array, seed: number): void {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < bytes.length; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
}

/** Fails unless `bytes` is the pattern of `seed`. */
export function checkPattern(bytes: Uint8Array, seed: number, what: string): void {
  const expected = new Uint8Array(bytes.length);
  fillPattern(expected, seed);
  const at = bytes.findIndex((byte, i) => byte !== expected[i]);
  assert.equal(at, -1, `${what}: byte ${at} differs`);
}
