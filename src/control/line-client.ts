/** Calls over the line protocol, with reconnection: engine and attacher come and go under control. */

import { type Socket, connect } from 'node:net';

import { type ErrorCode, Fault, Refusal, isErrorCode } from '../model/errors.ts';
import {
  type JsonObject,
  LINE_PROTOCOL_VERSION,
  LineSplitter,
  formatLineRequest,
  parseLineAnswer,
} from '../wire/line-protocol.ts';

/** A peer that restarts is back within 2 s; whoever calls waits this long for it. */
const CONNECT_MS_MAX = 10_000;
const RETRY_MS = 50;
/**
 * A peer that is there and says nothing, neither answer nor progress, for so long is stuck: the caller is told instead of left waiting.
 * Longer than what a call may take: a drain of clients' requests, a recovery of 10 TiB (1 s each), a forced checkpoint on a slow disk.
 */
const SILENCE_MS_MAX = 60_000;

export type OnProgress = (progress: {
  readonly doneBytes: number;
  readonly totalBytes: number;
}) => void;

type Waiter = {
  readonly resolve: (ok: JsonObject) => void;
  readonly reject: (error: unknown) => void;
  /** Said something: an answer or progress. */
  readonly onHeard: OnProgress;
};

/** `waitMs`: for a peer that is not there; `silenceMs`: for one that is there and says nothing. */
export type CallOptions = {
  readonly onProgress?: OnProgress;
  readonly waitMs?: number;
  readonly silenceMs?: number;
};

export class LineClient {
  readonly #path: string;
  readonly #unreachable: ErrorCode;
  readonly #waiters = new Map<number, Waiter>();
  #socket: Promise<Socket> | undefined;
  /** The same socket, also before the peer has said hello. */
  #connection: Socket | undefined;
  #nextId = 1;
  #closed = false;
  /** What the peer said of itself when it was last connected. */
  hello: JsonObject | undefined;
  /** Called after each connection but the first. */
  onReconnect: (() => void) | undefined;
  #connectCount = 0;

  constructor(path: string, unreachable: 'ENGINE_UNREACHABLE' | 'ATTACHER_UNREACHABLE') {
    this.#path = path;
    this.#unreachable = unreachable;
  }

  /**
   * Makes a call and resolves with its answer. Where the connection breaks it is made again: every call is idempotent. Throws the
   * peer's Refusal or Fault by its code, and the unreachable code when the peer stays away for `waitMs`, or is silent for `silenceMs`.
   */
  async call(name: string, args: JsonObject, options: CallOptions = {}): Promise<JsonObject> {
    const deadline = performance.now() + (options.waitMs ?? CONNECT_MS_MAX);
    for (;;) {
      try {
        const socket = await this.#spoken(options.silenceMs ?? SILENCE_MS_MAX);
        return await this.#send(socket, { name, args, ...options });
      } catch (error) {
        if (error instanceof Refusal || error instanceof Fault) throw error;
        if (this.#closed || performance.now() >= deadline) {
          const problem = error instanceof Error ? error.message : String(error);
          throw new Refusal(this.#unreachable, { problem });
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Waits for the connection, whose first answer may be slow to come too. */
  async #spoken(silenceMs: number): Promise<Socket> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#silent(silenceMs)), silenceMs);
    });
    try {
      return await Promise.race([this.#connected(), silence]);
    } finally {
      clearTimeout(timer);
    }
  }

  #silent(silenceMs: number): Refusal {
    const problem = `it is there and has not answered for ${silenceMs / 1000} s`;
    return new Refusal(this.#unreachable, { problem });
  }

  #connected(): Promise<Socket> {
    this.#socket ??= this.#connect().catch((error: unknown) => {
      this.#socket = undefined;
      throw error;
    });
    return this.#socket;
  }

  async #connect(): Promise<Socket> {
    const socket = connect(this.#path);
    this.#connection = socket;
    const splitter = new LineSplitter();
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#lost());
    socket.on('data', (bytes) => {
      const lines = splitter.take(bytes);
      if (lines === undefined) socket.destroy();
      for (const line of lines ?? []) this.#onLine(line);
    });
    const args = { protocol: LINE_PROTOCOL_VERSION };
    try {
      this.hello = await this.#send(socket, { name: 'hello', args });
    } catch (error) {
      socket.destroy();
      throw error;
    }
    this.#connectCount++;
    if (this.#connectCount > 1) this.onReconnect?.();
    return socket;
  }

  #send(
    socket: Socket,
    call: CallOptions & { readonly name: string; readonly args: JsonObject },
  ): Promise<JsonObject> {
    const id = this.#nextId++;
    const { name, args, onProgress, silenceMs = SILENCE_MS_MAX } = call;
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise<JsonObject>((resolve, reject) => {
      // A late answer finds nobody: the change is asked for again when the peer is back to itself, and is one change.
      timer = setTimeout(() => {
        this.#waiters.delete(id);
        reject(this.#silent(silenceMs));
      }, silenceMs);
      const onHeard: OnProgress = (progress) => {
        timer?.refresh();
        onProgress?.(progress);
      };
      this.#waiters.set(id, { resolve, reject, onHeard });
      socket.write(formatLineRequest({ id, call: name, args }));
    });
    return answer.finally(() => clearTimeout(timer));
  }

  #lost(): void {
    this.#socket = undefined;
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.reject(new Error('the connection was lost'));
    // Somebody who waits for the peer's return asks for it now.
    if (!this.#closed && this.onReconnect !== undefined) this.#watch();
  }

  #watch(): void {
    const again = (): void => {
      if (this.#closed || this.#socket !== undefined) return;
      this.#connected().catch(() => setTimeout(again, RETRY_MS * 4).unref());
    };
    setTimeout(again, RETRY_MS).unref();
  }

  #onLine(line: string): void {
    const answer = parseLineAnswer(line);
    if (answer.kind === 'problem') return;
    const waiter = this.#waiters.get(answer.id);
    if (waiter === undefined) return;
    if (answer.kind === 'progress') {
      waiter.onHeard(answer.progress);
      return;
    }
    this.#waiters.delete(answer.id);
    if (answer.kind === 'ok') waiter.resolve(answer.ok);
    else waiter.reject(errorOf(answer.error));
  }

  close(): void {
    this.#closed = true;
    this.#connection?.destroy();
  }
}

function errorOf(error: {
  readonly code: string;
  readonly message: string;
  readonly details: JsonObject;
}): Error {
  const details = Object.fromEntries(
    Object.entries(error.details).filter(
      (entry): entry is [string, string | number] =>
        typeof entry[1] === 'string' || typeof entry[1] === 'number',
    ),
  );
  if (isErrorCode(error.code)) return new Refusal(error.code, details);
  return new Fault('INTERNAL', { problem: error.message });
}
