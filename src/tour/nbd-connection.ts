/**
 * A small NBD client on Node's sockets, one request at a time, that waits for an engine that is away and asks again: what
 * the attacher does for mounted volumes, for the tour's own writers.
 */

import { type Socket, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientHandshake } from '../wire/nbd-client/nbd-handshake.ts';
import { type Reply, formatRequest, parseReply } from '../wire/nbd-client/nbd-transmission.ts';
import { CMD_READ, CMD_WRITE } from '../wire/nbd/constants.ts';

const REQUEST_BYTES = 28;
const REPLY_BYTES = 16;
/** An engine that was killed is back in less than a second; a try costs next to nothing. */
const RETRY_MS = 20;
const ABSENCE_MS_MAX = 30_000;
/** NBD protocol, "Error values": the server is shutting down. The next one gets the request. */
const ESHUTDOWN = 108;

/** The connection ended, or could not be made. */
class Lost extends Error {
  override name = 'Lost';
}

export class NbdConnection {
  readonly #socketPath: string;
  readonly #exportName: string;
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #cookie = 0;

  /** `uri` is of the form nbd+unix:///EXPORT?socket=PATH. */
  constructor(uri: string) {
    const url = new URL(uri);
    this.#socketPath = url.searchParams.get('socket') ?? '';
    this.#exportName = decodeURIComponent(url.pathname.slice(1));
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Buffer> {
    return await this.#untilAnswered({ type: CMD_READ, offsetBytes, lengthBytes });
  }

  async write(offsetBytes: number, data: Buffer): Promise<void> {
    await this.#untilAnswered({
      type: CMD_WRITE,
      offsetBytes,
      lengthBytes: data.length,
      data,
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #untilAnswered(request: Request): Promise<Buffer> {
    const deadlineMs = performance.now() + ABSENCE_MS_MAX;
    for (;;) {
      try {
        return await this.#ask(request);
      } catch (error) {
        this.close();
        if (!(error instanceof Lost) || performance.now() > deadlineMs) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  async #ask(request: Request): Promise<Buffer> {
    const socket = this.#socket ?? (await this.#connect());
    this.#cookie += 1;
    const header = Buffer.alloc(REQUEST_BYTES);
    const { type, offsetBytes, lengthBytes } = request;
    const cookie = { cookieHigh: 0, cookieLow: this.#cookie };
    const fields = { flags: 0, type, ...cookie, offsetBytes, lengthBytes };
    formatRequest(new DataView(header.buffer, header.byteOffset), 0, fields);
    socket.write(request.data === undefined ? header : Buffer.concat([header, request.data]));
    const bytes = await this.#take(REPLY_BYTES);
    const reply: Reply = { errno: 0, cookieHigh: 0, cookieLow: 0 };
    const isReply = parseReply(new DataView(bytes.buffer, bytes.byteOffset), 0, reply);
    if (!isReply || reply.cookieLow !== this.#cookie) throw new Error('The engine broke NBD');
    if (reply.errno === ESHUTDOWN) throw new Lost('The engine is shutting down');
    if (reply.errno !== 0) throw new Error(`The engine answered with error ${reply.errno}`);
    return await this.#take(type === CMD_READ ? lengthBytes : 0);
  }

  async #connect(): Promise<Socket> {
    const socket = connect(this.#socketPath);
    this.#socket = socket;
    this.#received = Buffer.alloc(0);
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#wake?.();
    });
    // An error is followed by the close, which wakes who waits.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#wake?.());
    const handshake = new ClientHandshake(this.#exportName);
    for (;;) {
      const step = handshake.step(this.#received);
      if (step.kind === 'failed') throw new Lost(step.problem);
      if (step.kind === 'unknown') throw new Error(`No export "${this.#exportName}"`);
      this.#received = this.#received.subarray(step.usedBytes);
      if (step.kind === 'ready') return socket;
      if (step.send === undefined) await this.#more();
      else socket.write(step.send);
    }
  }

  async #take(lengthBytes: number): Promise<Buffer> {
    while (this.#received.length < lengthBytes) await this.#more();
    const taken = this.#received.subarray(0, lengthBytes);
    this.#received = this.#received.subarray(lengthBytes);
    return taken;
  }

  /** Waits for more bytes. */
  async #more(): Promise<void> {
    if (this.#socket?.destroyed !== false) throw new Lost('The engine is away');
    const before = this.#received;
    await new Promise<void>((wake) => {
      this.#wake = wake;
    });
    if (this.#received === before) throw new Lost('The engine is away');
  }
}

type Request = {
  readonly type: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly data?: Buffer;
};
