/** Answers the line protocol on a unix socket with Node's own sockets. For cold calls. */

import { existsSync, renameSync, rmSync } from 'node:fs';
import { type Server, type Socket, connect, createServer } from 'node:net';
import process from 'node:process';

import { withoutDescriptors } from '../model/descriptors.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  type JsonObject,
  LINE_PROTOCOL_VERSION,
  type LineError,
  type LineRequest,
  LineSplitter,
  formatLineError,
  formatLineOk,
  parseLineRequest,
} from '../wire/line-protocol.ts';

export type LineServerOptions = {
  /** Who answers, for messages. */
  readonly peer: string;
  /** Answers a call. Refusals and Faults travel by their codes, all else as INTERNAL. */
  readonly onCall: (call: string, args: JsonObject) => Promise<JsonObject>;
  /** Added to what `hello` answers. */
  readonly hello: () => JsonObject;
};

const ONLY_US = 0o177;
/** Where a server listens that is to take another's place. */
const BESIDE = '.next';

export class LineServer {
  readonly #options: LineServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: LineServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Listens at `path`, mode 0600, in place of a socket that nobody listens on any more. */
  static async listen(path: string, options: LineServerOptions): Promise<LineServer> {
    const server = new LineServer(options);
    if (existsSync(path) && !(await isServed(path))) rmSync(path, { force: true });
    const mask = process.umask(ONLY_US);
    try {
      await new Promise<void>((resolve, reject) => {
        server.#server.once('error', reject).listen(path, resolve);
      });
    } finally {
      process.umask(mask);
    }
    return server;
  }

  /** Listens beside the server that another process has at `path`; {@link LineServer.takePlace} puts it there. */
  static listenBeside(path: string, options: LineServerOptions): Promise<LineServer> {
    rmSync(path + BESIDE, { force: true });
    return LineServer.listen(path + BESIDE, options);
  }

  /** From now on clients that connect come here. The other server keeps those that it has. */
  takePlace(path: string): void {
    renameSync(path + BESIDE, path);
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroySoon();
    });
  }

  #serve(socket: Socket): void {
    const splitter = new LineSplitter();
    let greeted = false;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // A peer that goes away is none of our errors.
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes: Uint8Array) => {
      const lines = splitter.take(bytes);
      if (lines === undefined) {
        socket.destroy();
        return;
      }
      for (const line of lines) {
        const request = parseLineRequest(line);
        if ('problem' in request) {
          socket.destroy();
          return;
        }
        const isHello = request.call === 'hello';
        greeted ||= isHello;
        const answer = isHello ? this.#onHello(request) : this.#onRequest(request, greeted);
        void answer.then((text) => {
          if (!socket.destroyed) socket.write(text);
        });
      }
    });
  }

  async #onHello(request: LineRequest): Promise<string> {
    if (request.args.protocol === LINE_PROTOCOL_VERSION) {
      const hello = { protocol: LINE_PROTOCOL_VERSION, pid: process.pid, ...this.#options.hello() };
      return formatLineOk(request.id, hello);
    }
    const refusal = new Refusal('PROTOCOL_VERSION', {
      peer: this.#options.peer,
      actual: LINE_PROTOCOL_VERSION,
      wanted: String(request.args.protocol),
    });
    return formatLineError(request.id, errorOf(refusal, this.#options.peer));
  }

  async #onRequest(request: LineRequest, greeted: boolean): Promise<string> {
    try {
      if (!greeted) throw new Refusal('INPUT_INVALID', { problem: 'the first call is hello' });
      return formatLineOk(request.id, await this.#options.onCall(request.call, request.args));
    } catch (error) {
      return formatLineError(request.id, errorOf(error, this.#options.peer));
    }
  }
}

function errorOf(thrown: unknown, peer: string): LineError {
  const error = withoutDescriptors(thrown, peer) ?? thrown;
  if (error instanceof Refusal || error instanceof Fault) {
    return { code: error.code, message: error.message, details: error.details };
  }
  const problem = error instanceof Error ? error.message : String(error);
  const fault = new Fault('INTERNAL', { problem });
  return { code: fault.code, message: fault.message, details: fault.details };
}

/** Whether somebody listens on the unix socket at `path`. */
export function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
