/** An NBD client for tests that says exactly what it is told, also what no real client would. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import net from 'node:net';

import {
  CMD_READ,
  CMD_WRITE,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  OPT_GO,
  OPT_SET_META_CONTEXT,
  OPT_STRUCTURED_REPLY,
  REP_ACK,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../src/wire/nbd/constants.ts';

export type OptionReply = { readonly option: number; readonly type: number; readonly data: Buffer };

export type Reply =
  | { readonly kind: 'simple'; readonly cookie: bigint; readonly errno: number }
  | {
      readonly kind: 'chunk';
      readonly cookie: bigint;
      readonly flags: number;
      readonly type: number;
      readonly payload: Buffer;
    };

export type RequestFields = {
  readonly type: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: bigint | number;
  readonly length?: number;
  readonly data?: Buffer;
};

/** The 28 bytes of a request, and its data. */
export function formatRequest(fields: RequestFields): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(REQUEST_MAGIC, 0);
  header.writeUInt16BE(fields.flags ?? 0, 4);
  header.writeUInt16BE(fields.type, 6);
  header.writeBigUInt64BE(fields.cookie ?? 0n, 8);
  header.writeBigUInt64BE(BigInt(fields.offset ?? 0), 16);
  header.writeUInt32BE(fields.length ?? fields.data?.length ?? 0, 24);
  return fields.data === undefined ? header : Buffer.concat([header, fields.data]);
}

export function formatOption(option: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(IHAVEOPT_HIGH, 0);
  header.writeUInt32BE(IHAVEOPT_LOW, 4);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

/** Data of INFO and GO. */
export function infoData(name: string, infos: readonly number[] = []): Buffer {
  const bytes = Buffer.alloc(6 + name.length + 2 * infos.length);
  bytes.writeUInt32BE(name.length, 0);
  bytes.write(name, 4, 'latin1');
  bytes.writeUInt16BE(infos.length, 4 + name.length);
  for (const [index, info] of infos.entries()) {
    bytes.writeUInt16BE(info, 6 + name.length + 2 * index);
  }
  return bytes;
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaData(name: string, queries: readonly string[]): Buffer {
  const parts = [uint32(name.length), Buffer.from(name), uint32(queries.length)];
  for (const query of queries) parts.push(uint32(query.length), Buffer.from(query));
  return Buffer.concat(parts);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export class NbdRawClient {
  readonly socket: net.Socket;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #ended = false;
  #onProgress: (() => void) | undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (data: Buffer) => {
      this.#received.push(data);
      this.#receivedBytes += data.length;
      this.#onProgress?.();
    });
    const end = (): void => {
      this.#ended = true;
      this.#onProgress?.();
    };
    socket.on('close', end);
    socket.on('error', end);
  }

  static async connect(path: string): Promise<NbdRawClient> {
    const socket = net.connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new NbdRawClient(socket);
  }

  /** Connects and goes to transmission. */
  static async attach(
    path: string,
    options: {
      readonly name: string;
      readonly structured?: boolean;
      readonly contexts?: readonly string[];
    },
  ): Promise<NbdRawClient> {
    const client = await NbdRawClient.connect(path);
    await client.greet();
    if (options.structured === true) await client.option(OPT_STRUCTURED_REPLY);
    if (options.contexts !== undefined) {
      await client.option(OPT_SET_META_CONTEXT, metaData(options.name, options.contexts));
    }
    const replies = await client.option(OPT_GO, infoData(options.name));
    if (replies.at(-1)?.type !== REP_ACK) throw new Error('GO was refused');
    return client;
  }

  send(...bytes: readonly Uint8Array[]): void {
    for (const each of bytes) this.socket.write(each);
  }

  /** Exactly this many bytes. Rejects if the server ends before. */
  async receive(lengthBytes: number): Promise<Buffer> {
    while (this.#receivedBytes < lengthBytes) {
      if (this.#ended) throw new Error('the server ended the connection');
      await this.#progress();
    }
    const all = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received);
    this.#receivedBytes -= lengthBytes;
    this.#received = [all.subarray(lengthBytes)];
    return all.subarray(0, lengthBytes);
  }

  /** Resolves when the server has ended the connection, with what was received and not taken. */
  async untilEnd(): Promise<Buffer> {
    while (!this.#ended) await this.#progress();
    return Buffer.concat(this.#received);
  }

  /** Takes the greeting and sends the client's flags. */
  async greet(flags = 3): Promise<void> {
    await this.receive(18);
    this.send(uint32(flags));
  }

  /** Sends an option and returns the replies, of which the last is final. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.send(formatOption(option, data));
    const replies: OptionReply[] = [];
    for (;;) {
      const header = await this.receive(20);
      const reply = {
        option: header.readUInt32BE(8),
        type: header.readUInt32BE(12),
        data: await this.receive(header.readUInt32BE(16)),
      };
      replies.push(reply);
      if (reply.type === REP_ACK || reply.type >= 0x80000000) return replies;
    }
  }

  request(fields: RequestFields): void {
    this.send(formatRequest(fields));
  }

  /** The next reply. The data of a simple one is the caller's to receive. */
  async reply(): Promise<Reply> {
    const header = await this.receive(16);
    const cookie = header.readBigUInt64BE(8);
    const magic = header.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC) {
      return { kind: 'simple', cookie, errno: header.readUInt32BE(4) };
    }
    if (magic !== STRUCTURED_REPLY_MAGIC) throw new Error(`magic ${magic.toString(16)}`);
    const lengthBytes = (await this.receive(4)).readUInt32BE();
    return {
      kind: 'chunk',
      cookie,
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      payload: await this.receive(lengthBytes),
    };
  }

  /** Reads nothing more, so that the server's sends get stuck, until {@link NbdRawClient.resume}. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Writes, and asserts that it is answered well. Nothing else may be unanswered. */
  async write(offset: number, data: Buffer): Promise<void> {
    this.request({ type: CMD_WRITE, offset, data });
    assert.deepEqual(await this.reply(), { kind: 'simple', cookie: 0n, errno: 0 });
  }

  /** Reads, as {@link write}. */
  async read(offset: number, length: number): Promise<Buffer> {
    this.request({ type: CMD_READ, offset, length });
    assert.deepEqual(await this.reply(), { kind: 'simple', cookie: 0n, errno: 0 });
    return this.receive(length);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #progress(): Promise<void> {
    return new Promise((resolve) => {
      this.#onProgress = () => {
        this.#onProgress = undefined;
        resolve();
      };
    });
  }
}
