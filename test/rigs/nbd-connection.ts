/**
 * The rigs' own NBD client, on Node's sockets: written apart from the product's, so that one mistake about the protocol
 * cannot hide in both. Fixed newstyle, NBD_OPT_GO, simple replies.
 *
 * NBD protocol, "Transmission phase": requests may be pipelined, replies come in any order and carry the request's cookie.
 */

import { connect as connectSocket, type Socket } from 'node:net';

/** The server answered with an error. */
export class NbdError extends Error {
  override name = 'NbdError';
  readonly errno: number;

  constructor(errno: number, what: string) {
    super(`${what}: NBD error ${errno}`);
    this.errno = errno;
  }
}

/** The connection ended before the reply came: the request may have taken effect or not. */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

export type Request =
  | { readonly kind: 'read'; readonly offsetBytes: number; readonly lengthBytes: number }
  | {
      readonly kind: 'write';
      readonly offsetBytes: number;
      readonly data: Buffer;
      readonly fua: boolean;
    }
  | { readonly kind: 'trim' | 'zero'; readonly offsetBytes: number; readonly lengthBytes: number }
  | { readonly kind: 'flush' };

const MAGIC = 0x4e42444d41474943n;
const OPTION_MAGIC = 0x49484156454f5054n;
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const INFO_EXPORT = 0;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const FLAG_FUA = 1;
const COMMANDS = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, zero: 6 } as const;
/** Longer than any restart that a bar allows; a hang ends the rig instead of blocking it. */
const CONNECT_TIMEOUT_MS = 10_000;

type Waiting = {
  readonly request: Request;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
};

export class NbdConnection {
  readonly sizeBytes: number;
  readonly #reader: ByteReader;
  readonly #socket: Socket;
  readonly #waiting = new Map<bigint, Waiting>();
  #cookie = 0n;

  /** Connects to `nbd+unix:///EXPORT?socket=PATH` and negotiates. Rejects if that fails in any way. */
  static async open(uri: string): Promise<NbdConnection> {
    const { exportName, socketPath } = parseNbdUri(uri);
    const socket = connectSocket(socketPath);
    const reader = new ByteReader(socket);
    const timer = setTimeout(
      () => socket.destroy(new Error('NBD negotiation timed out')),
      CONNECT_TIMEOUT_MS,
    );
    try {
      const sizeBytes = await negotiate(socket, reader, exportName);
      return new NbdConnection(socket, reader, sizeBytes);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(socket: Socket, reader: ByteReader, sizeBytes: number) {
    this.#socket = socket;
    this.#reader = reader;
    this.sizeBytes = sizeBytes;
    void this.#receive();
  }

  /**
   * Sends one request. Resolves with the bytes of a read (else with none) when the server has answered; rejects with
   * {@link NbdError} or {@link ConnectionLost}.
   */
  request(request: Request): Promise<Buffer> {
    const cookie = this.#cookie++;
    return new Promise<Buffer>((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new ConnectionLost('The connection is closed'));
        return;
      }
      this.#waiting.set(cookie, { request, resolve, reject });
      const header = requestHeader(request, cookie);
      if (request.kind === 'write') {
        this.#socket.cork();
        this.#socket.write(header);
        this.#socket.write(request.data);
        this.#socket.uncork();
      } else {
        this.#socket.write(header);
      }
    });
  }

  /** Says NBD_CMD_DISC and closes. What is unanswered rejects with {@link ConnectionLost}. */
  close(): void {
    const header = Buffer.alloc(28);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(COMMANDS.disconnect, 6);
    this.#socket.end(header);
    this.#socket.destroySoon();
  }

  /** Ends as with a client that is killed. */
  destroy(): void {
    this.#socket.destroy();
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const header = await this.#reader.take(16);
        if (header.readUInt32BE(0) !== REPLY_MAGIC) throw new Error('Bad magic in a reply');
        const errno = header.readUInt32BE(4);
        const cookie = header.readBigUInt64BE(8);
        const waiting = this.#waiting.get(cookie);
        if (waiting === undefined) throw new Error(`A reply to no request: cookie ${cookie}`);
        const { request } = waiting;
        const lengthBytes = request.kind === 'read' && errno === 0 ? request.lengthBytes : 0;
        const data = await this.#reader.take(lengthBytes);
        this.#waiting.delete(cookie);
        if (errno === 0) waiting.resolve(data);
        else waiting.reject(new NbdError(errno, request.kind));
      }
    } catch (error) {
      this.#socket.destroy();
      for (const waiting of this.#waiting.values()) {
        waiting.reject(new ConnectionLost(`No reply: ${String(error)}`));
      }
      this.#waiting.clear();
    }
  }
}

export function parseNbdUri(uri: string): { exportName: string; socketPath: string } {
  const url = new URL(uri);
  const socketPath = url.searchParams.get('socket');
  if (url.protocol !== 'nbd+unix:' || socketPath === null) {
    throw new Error(`"${uri}" is not of the form nbd+unix:///EXPORT?socket=PATH`);
  }
  return { exportName: decodeURIComponent(url.pathname.slice(1)), socketPath };
}

async function negotiate(socket: Socket, reader: ByteReader, name: string): Promise<number> {
  const greeting = await reader.take(18);
  if (greeting.readBigUInt64BE(0) !== MAGIC || greeting.readBigUInt64BE(8) !== OPTION_MAGIC) {
    throw new Error('The server does not speak newstyle NBD');
  }
  const nameBytes = Buffer.from(name);
  const option = Buffer.alloc(4 + 16 + 4 + nameBytes.length + 2);
  // Client flags: NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES.
  option.writeUInt32BE(3, 0);
  option.writeBigUInt64BE(OPTION_MAGIC, 4);
  option.writeUInt32BE(OPTION_GO, 12);
  option.writeUInt32BE(4 + nameBytes.length + 2, 16);
  option.writeUInt32BE(nameBytes.length, 20);
  nameBytes.copy(option, 24);
  socket.write(option);
  let sizeBytes: number | undefined;
  for (;;) {
    const header = await reader.take(20);
    if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC)
      throw new Error('Bad magic in an option reply');
    const kind = header.readUInt32BE(12);
    const data = await reader.take(header.readUInt32BE(16));
    if (kind === REPLY_INFO && data.readUInt16BE(0) === INFO_EXPORT) {
      sizeBytes = Number(data.readBigUInt64BE(2));
    } else if (kind === REPLY_ACK) {
      if (sizeBytes === undefined) throw new Error('The server did not tell the size');
      return sizeBytes;
    } else if (kind >= 2 ** 31) {
      throw new Error(
        `The server refuses export "${name}": ${kind.toString(16)} ${data.toString()}`,
      );
    }
  }
}

function requestHeader(request: Request, cookie: bigint): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(REQUEST_MAGIC, 0);
  header.writeUInt16BE(request.kind === 'write' && request.fua ? FLAG_FUA : 0, 4);
  header.writeUInt16BE(COMMANDS[request.kind], 6);
  header.writeBigUInt64BE(cookie, 8);
  if (request.kind !== 'flush') {
    header.writeBigUInt64BE(BigInt(request.offsetBytes), 16);
    header.writeUInt32BE(request.kind === 'write' ? request.data.length : request.lengthBytes, 24);
  }
  return header;
}

/** Hands out exactly as many bytes as asked for, whatever pieces the socket gives. One `take` at a time. */
class ByteReader {
  readonly #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bufferedBytes += chunk.length;
      this.#wake?.();
    });
    const fail = (error: Error): void => {
      this.#failure ??= error;
      this.#wake?.();
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('The socket closed')));
    socket.on('end', () => fail(new Error('The server ended the connection')));
  }

  async take(lengthBytes: number): Promise<Buffer> {
    while (this.#bufferedBytes < lengthBytes) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
    const result = Buffer.allocUnsafe(lengthBytes);
    let filled = 0;
    while (filled < lengthBytes) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) throw new Error('Fewer bytes than counted');
      const part = Math.min(chunk.length, lengthBytes - filled);
      chunk.copy(result, filled, 0, part);
      filled += part;
      if (part === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(part);
    }
    this.#bufferedBytes -= lengthBytes;
    return result;
  }
}
