/** The engine's side of the line protocol on engine.sock: connections of control and tools, over env.io. A cold path: it awaits. */

import type { Arena } from '../lib/arena.ts';
import type { Log } from '../model/log.ts';
import type { Env } from '../env/env.ts';
import type { IoAsync } from '../env/io-async.ts';
import { withoutDescriptors } from '../model/descriptors.ts';
import { ErrnoError } from '../model/errno.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  type JsonObject,
  type LineError,
  type LineRequest,
  LINE_BYTES_MAX,
  LINE_PROTOCOL_VERSION,
  LineSplitter,
  formatLineError,
  formatLineOk,
  formatLineProgress,
  parseLineRequest,
} from '../wire/line-protocol.ts';

/** Control, and a few people's tools. Further clients wait until one of these ends. */
const CONNECTION_COUNT_MAX = 16;
/** Calls under way per connection: what comes beyond is not read until one ends. */
const CALLS_MAX = 32;
/** After a failed accept. */
const ACCEPT_RETRY_MS = 1000;
export const CONTROL_MEMORY_BYTES: number = 2 * CONNECTION_COUNT_MAX * LINE_BYTES_MAX + 4096;

export type Progress = { readonly doneBytes: number; readonly totalBytes: number };

export type Call = (
  args: JsonObject,
  onProgress: (progress: Progress) => void,
) => JsonObject | Promise<JsonObject>;

export type ControlServerOptions = {
  readonly arena: Arena;
  readonly ioAsync: IoAsync;
  readonly log: Log;
  readonly path: string;
  /** By name. `hello` among them; it has to come first. */
  readonly calls: ReadonlyMap<string, Call>;
};

/** One client's memory, used again for the next. */
type Seat = { readonly receiveAddress: number; readonly sendAddress: number };

export class ControlServer {
  readonly #env: Env;
  readonly #options: ControlServerOptions;
  readonly #listener: number;
  readonly #seats: Seat[] = [];
  readonly #fds = new Set<number>();
  readonly #sessions = new Set<Promise<void>>();
  #onSeat: (() => void) | undefined;
  #stopping = false;

  private constructor(env: Env, options: ControlServerOptions, listener: number) {
    this.#env = env;
    this.#options = options;
    this.#listener = listener;
    const { arena } = options;
    for (let index = 0; index < CONNECTION_COUNT_MAX; index += 1) {
      const receiveAddress = arena.reserve(LINE_BYTES_MAX, 1);
      this.#seats.push({ receiveAddress, sendAddress: arena.reserve(LINE_BYTES_MAX, 1) });
    }
  }

  /** Listens on `options.path`. Resolves when clients can connect. */
  static async start(env: Env, options: ControlServerOptions): Promise<ControlServer> {
    const server = new ControlServer(env, options, await env.files.listen(options.path));
    void server.#acceptAll();
    return server;
  }

  /** Disconnects everybody, once the answers to the calls under way are sent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#env.files.remove(this.#options.path);
    await this.#options.ioAsync.close(this.#listener);
    await Promise.all([...this.#fds].map((fd) => this.#options.ioAsync.close(fd)));
    await Promise.all(this.#sessions);
  }

  async #acceptAll(): Promise<void> {
    const { ioAsync, log } = this.#options;
    while (!this.#stopping) {
      const seat = this.#seats.pop();
      if (seat === undefined) {
        await new Promise<void>((resolve) => {
          this.#onSeat = resolve;
        });
        continue;
      }
      try {
        const fd = await ioAsync.accept(this.#listener);
        const session = this.#serve(fd, seat);
        this.#sessions.add(session);
        void session.finally(() => this.#sessions.delete(session));
      } catch (error) {
        this.#seats.push(seat);
        if (this.#stopping) return;
        log('engine.accept_failed', { error: String(error) });
        await ioAsync.sleep(ACCEPT_RETRY_MS);
      }
    }
  }

  async #serve(fd: number, seat: Seat): Promise<void> {
    const { ioAsync, log } = this.#options;
    this.#fds.add(fd);
    const session = new Session(fd, seat, this.#options);
    try {
      await session.run();
    } catch (error) {
      if (!this.#stopping) log('engine.connection_ended', { error: String(error) });
    }
    await session.settled();
    if (this.#fds.delete(fd) && !this.#stopping) await ioAsync.close(fd).catch(() => undefined);
    this.#seats.push(seat);
    this.#onSeat?.();
  }
}

class Session {
  readonly #fd: number;
  readonly #seat: Seat;
  readonly #options: ControlServerOptions;
  readonly #splitter = new LineSplitter();
  readonly #underWay = new Set<Promise<void>>();
  /** Answers go out one after the other. */
  #sent: Promise<void> = Promise.resolve();
  #greeted = false;

  constructor(fd: number, seat: Seat, options: ControlServerOptions) {
    this.#fd = fd;
    this.#seat = seat;
    this.#options = options;
  }

  /** Serves calls until the client ends. Rejects if it does not keep to the protocol. */
  async run(): Promise<void> {
    const { ioAsync, arena } = this.#options;
    const range = { address: this.#seat.receiveAddress, lengthBytes: LINE_BYTES_MAX };
    for (;;) {
      const count = await ioAsync.receive(this.#fd, range);
      if (count === 0) return;
      const lines = this.#splitter.take(arena.u8.subarray(range.address, range.address + count));
      if (lines === undefined) throw new Error(`a line of more than ${LINE_BYTES_MAX} bytes`);
      for (const line of lines) {
        const request = parseLineRequest(line);
        if ('problem' in request) throw new Error(request.problem);
        while (this.#underWay.size >= CALLS_MAX) await Promise.race(this.#underWay);
        const call = this.#perform(request);
        this.#underWay.add(call);
        void call.finally(() => this.#underWay.delete(call));
      }
    }
  }

  /** Resolves when no call is under way and nothing is being sent. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
    await this.#sent;
  }

  async #perform(request: LineRequest): Promise<void> {
    const { id } = request;
    try {
      const ok = await this.#call(request);
      await this.#send(this.#formatOk(id, ok));
    } catch (error) {
      if (!(error instanceof Refusal)) {
        this.#options.log('engine.call_failed', { call: request.call, error: describe(error) });
      }
      await this.#send(formatLineError(id, lineError(error)));
    }
  }

  #formatOk(id: number, ok: JsonObject): string {
    const line = formatLineOk(id, ok);
    if (Buffer.byteLength(line) <= LINE_BYTES_MAX) return line;
    throw new Error(`an answer of ${line.length} characters`);
  }

  async #call({ id, call, args }: LineRequest): Promise<JsonObject> {
    const perform = this.#options.calls.get(call);
    if (call === 'hello') {
      if (args['protocol'] !== LINE_PROTOCOL_VERSION) {
        throw new Refusal('PROTOCOL_VERSION', {
          peer: 'engine',
          actual: LINE_PROTOCOL_VERSION,
          wanted: String(args['protocol']),
        });
      }
      this.#greeted = true;
    } else if (!this.#greeted) {
      throw new Refusal('INPUT_INVALID', { problem: 'the first call is "hello"' });
    }
    if (perform === undefined) {
      throw new Refusal('INPUT_INVALID', { problem: `there is no call "${call.slice(0, 80)}"` });
    }
    return perform(args, (progress) => {
      void this.#send(formatLineProgress(id, progress));
    });
  }

  #send(line: string): Promise<void> {
    const { ioAsync, arena } = this.#options;
    this.#sent = this.#sent.then(async () => {
      const address = this.#seat.sendAddress;
      const { written } = new TextEncoder().encodeInto(
        line,
        arena.u8.subarray(address, address + LINE_BYTES_MAX),
      );
      try {
        await ioAsync.sendAll(this.#fd, { address, lengthBytes: written });
      } catch {
        // The client is gone; whoever reads from it hears of it too.
      }
    });
    return this.#sent;
  }
}

function lineError(thrown: unknown): LineError {
  const error = withoutDescriptors(thrown, 'engine') ?? thrown;
  if (error instanceof Refusal || error instanceof Fault) {
    return { code: error.code, message: error.message, details: error.details };
  }
  const problem = describe(error);
  return {
    code: 'INTERNAL',
    message: `Something went wrong inside: ${problem}`,
    details: { problem },
  };
}

function describe(error: unknown): string {
  if (error instanceof ErrnoError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
