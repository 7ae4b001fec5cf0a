/** An NBD server that a test plays by hand: it shows each request and sends what it is told, when it is told. */

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';

export type SeenRequest = {
  readonly type: number;
  readonly flags: number;
  readonly cookie: bigint;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly data: Buffer;
};

/** NBDMAGIC, IHAVEOPT, fixed newstyle and no zeroes. */
const GREETING = Buffer.from('NBDMAGICIHAVEOPT\0\x03', 'latin1');
const REPLY_MAGIC = 0x67446698;
const WRITE = 1;

/** One connection. `requests` grows as they come. */
export class ScriptedConnection {
  readonly socket: net.Socket;
  readonly requests: SeenRequest[] = [];
  /** Called with each request that comes from now on. */
  onRequest: ((request: SeenRequest) => void) | undefined;
  #held = Buffer.alloc(0);
  #phase: 'options' | 'requests' = 'options';
  readonly #answerOption: (exportName: string) => Buffer;

  constructor(socket: net.Socket, answerOption: (exportName: string) => Buffer) {
    this.socket = socket;
    this.#answerOption = answerOption;
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      this.#held = Buffer.concat([this.#held, bytes]);
      while (this.#phase === 'options' ? this.#takeOption() : this.#takeRequest());
    });
    socket.write(GREETING);
  }

  /** Waits until `count` requests have come. */
  async seen(count: number): Promise<void> {
    while (this.requests.length < count) await once(this.socket, 'data');
  }

  reply(request: SeenRequest, errno = 0, data: Buffer = Buffer.alloc(0)): void {
    this.socket.write(formatReply(request, errno, data));
  }

  #takeOption(): boolean {
    // Client flags, magic, option, length; then name length and name.
    if (this.#held.length < 20 || this.#held.length < 20 + this.#held.readUInt32BE(16))
      return false;
    const end = 20 + this.#held.readUInt32BE(16);
    const name = this.#held.subarray(24, 24 + this.#held.readUInt32BE(20)).toString();
    this.#held = this.#held.subarray(end);
    this.#phase = 'requests';
    this.socket.write(this.#answerOption(name));
    return true;
  }

  #takeRequest(): boolean {
    if (this.#held.length < 28) return false;
    const type = this.#held.readUInt16BE(6);
    const lengthBytes = this.#held.readUInt32BE(24);
    const end = 28 + (type === WRITE ? lengthBytes : 0);
    if (this.#held.length < end) return false;
    const request: SeenRequest = {
      type,
      flags: this.#held.readUInt16BE(4),
      cookie: this.#held.readBigUInt64BE(8),
      offsetBytes: Number(this.#held.readBigUInt64BE(16)),
      lengthBytes,
      data: Buffer.from(this.#held.subarray(28, end)),
    };
    this.#held = this.#held.subarray(end);
    this.requests.push(request);
    this.onRequest?.(request);
    return true;
  }
}

export function formatReply(request: SeenRequest, errno: number, data: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(REPLY_MAGIC, 0);
  header.writeUInt32BE(errno, 4);
  header.writeBigUInt64BE(request.cookie, 8);
  return Buffer.concat([header, data]);
}

/** A server at `path`. Each connection is given to who waits for one. */
export class ScriptedNbdServer {
  readonly #path: string;
  readonly #server: net.Server;
  readonly #connections: ScriptedConnection[] = [];
  #onConnection: (() => void) | undefined;
  sizeBytes: number = 2 ** 20;
  /** What an NBD_OPT_GO gets instead of the export. */
  refusal: number | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#server = net.createServer((socket) => {
      this.#connections.push(new ScriptedConnection(socket, () => this.#answerGo()));
      this.#onConnection?.();
    });
  }

  async listen(): Promise<void> {
    fs.rmSync(this.#path, { force: true });
    this.#server.listen(this.#path);
    await once(this.#server, 'listening');
  }

  async accept(): Promise<ScriptedConnection> {
    while (this.#connections.length === 0) {
      await new Promise<void>((resolve) => {
        this.#onConnection = resolve;
      });
    }
    return this.#connections.shift()!;
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.#connections) socket.destroy();
  }

  #answerGo(): Buffer {
    if (this.refusal !== undefined) return optionReply(this.refusal, Buffer.alloc(0));
    const info = Buffer.alloc(12);
    info.writeBigUInt64BE(BigInt(this.sizeBytes), 2);
    // HAS_FLAGS, SEND_FLUSH, SEND_TRIM, SEND_WRITE_ZEROES
    info.writeUInt16BE(1 | 4 | 32 | 64, 10);
    return Buffer.concat([optionReply(3, info), optionReply(1, Buffer.alloc(0))]);
  }
}

function optionReply(type: number, data: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(0x3e889045565a9n, 0);
  header.writeUInt32BE(7, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}
