/**
 * An NBD server in memory that can be killed and comes back with the same bytes, or, as a canary, without some that it
 * acknowledged. It shows that the kill rig passes what is right and catches what is wrong.
 */

import { createServer, type Server as NetServer, type Socket } from 'node:net';

export type Fault =
  | { readonly kind: 'none' }
  /** Forgets this many of the last acknowledged changes at each kill. */
  | { readonly kind: 'forget'; readonly changeCount: number }
  /** Half of the sectors of one acknowledged write go to the sectors beside it. */
  | { readonly kind: 'misdirect' };

const OPTION_MAGIC = 0x49484156454f5054n;

export class MemoryNbdServer {
  readonly uri: string;
  readonly #path: string;
  readonly #bytes: Buffer;
  readonly #fault: Fault;
  readonly #sockets = new Set<Socket>();
  /** Former content of the last acknowledged changes, newest last. */
  readonly #undo: { readonly offset: number; readonly bytes: Buffer }[] = [];
  #server: NetServer | undefined;

  constructor(path: string, options: { readonly sizeBytes: number; readonly fault: Fault }) {
    this.#path = path;
    this.uri = `nbd+unix:///memory?socket=${path}`;
    this.#bytes = Buffer.alloc(options.sizeBytes);
    this.#fault = options.fault;
  }

  async start(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve) => this.#server?.listen(this.#path, resolve));
  }

  /** Drops every connection in the middle of whatever it does, and what the fault says, then listens again. */
  async kill(): Promise<void> {
    await this.stop();
    if (this.#fault.kind === 'forget') {
      for (const change of this.#undo.splice(-this.#fault.changeCount).toReversed()) {
        change.bytes.copy(this.#bytes, change.offset);
      }
    }
    if (this.#fault.kind === 'misdirect') {
      const change = this.#undo.at(-1);
      if (change !== undefined)
        this.#bytes.copyWithin(change.offset + 512, change.offset, change.offset + 512);
    }
    await this.start();
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const greeting = Buffer.alloc(18);
    greeting.write('NBDMAGICIHAVEOPT', 0, 'latin1');
    greeting.writeUInt16BE(3, 16);
    socket.write(greeting);
    let pending: Buffer = Buffer.alloc(0);
    let parse: (bytes: Buffer) => number = (bytes) => {
      const used = this.#negotiate(socket, bytes);
      if (used > 0) parse = (more) => this.#answer(socket, more);
      return used;
    };
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const used = parse(pending);
        if (used === 0) return;
        pending = pending.subarray(used);
      }
    });
  }

  /** Client flags and one NBD_OPT_GO. Returns the bytes taken, 0 while they are not all there. */
  #negotiate(socket: Socket, bytes: Buffer): number {
    if (bytes.length < 20) return 0;
    const lengthBytes = 20 + bytes.readUInt32BE(16);
    if (bytes.length < lengthBytes) return 0;
    if (bytes.readBigUInt64BE(4) !== OPTION_MAGIC) socket.destroy();
    const info = Buffer.alloc(12);
    info.writeBigUInt64BE(BigInt(this.#bytes.length), 2);
    // HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES.
    info.writeUInt16BE(1 | 4 | 8 | 32 | 64, 10);
    socket.write(Buffer.concat([optionReply(3, info), optionReply(1, Buffer.alloc(0))]));
    return lengthBytes;
  }

  #answer(socket: Socket, bytes: Buffer): number {
    if (bytes.length < 28) return 0;
    const command = bytes.readUInt16BE(6);
    const offset = Number(bytes.readBigUInt64BE(16));
    const length = bytes.readUInt32BE(24);
    const dataLength = command === 1 ? length : 0;
    if (bytes.length < 28 + dataLength) return 0;
    const reply = Buffer.alloc(16);
    reply.writeUInt32BE(0x67446698, 0);
    bytes.copy(reply, 8, 8, 16);
    if (command === 2) socket.destroy();
    if (command === 1) this.#change(offset, bytes.subarray(28, 28 + length));
    if (command === 4 || command === 6) this.#change(offset, Buffer.alloc(length));
    const data = command === 0 ? this.#bytes.subarray(offset, offset + length) : Buffer.alloc(0);
    socket.write(Buffer.concat([reply, data]));
    return 28 + dataLength;
  }

  #change(offset: number, bytes: Buffer): void {
    const former = Buffer.from(this.#bytes.subarray(offset, offset + bytes.length));
    this.#undo.push({ offset, bytes: former });
    if (this.#undo.length > 64) this.#undo.shift();
    bytes.copy(this.#bytes, offset);
  }
}

function optionReply(kind: number, data: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(0x3e889045565a9n, 0);
  header.writeUInt32BE(7, 8);
  header.writeUInt32BE(kind, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}
