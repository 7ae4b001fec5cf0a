/**
 * `env.io` for code that awaits: one port, a free list of indexes, a Promise per operation. For cold paths; a hot path has
 * a port of its own. Errors are {@link ErrnoError}; short transfers go on until all is done, unless a method says otherwise.
 *
 * Arena ranges named by an operation belong to it until its promise settles.
 */

import { EIO, ErrnoError } from '../model/errno.ts';
import { type Io, type Port, INDEX_LIMIT } from './io.ts';
import type { SocketAddress } from './tcp-address.ts';

const SECTOR_BYTES = 512;

/** Who awaits an index, and what to call its failure. */
type Waiter = {
  readonly syscall: string;
  resolve(result: number): void;
  reject(error: Error): void;
};

export type Range = { readonly address: number; readonly lengthBytes: number };

export class IoAsync {
  readonly #io: Io;
  readonly #port: Port;
  /** By index. */
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #segment = new Uint32Array(2);

  /** Opens one port of `io`. One IoAsync serves a whole process. */
  constructor(io: Io) {
    this.#io = io;
    this.#port = io.port((index, result) => this.#onCompletion(index, result));
  }

  /** Operations in flight. */
  get inFlight(): number {
    return this.#waiters.length - this.#free.length;
  }

  /** Reads until `range` is full or the file ends. Resolves with the bytes read. */
  async read(fd: number, positionBytes: number, range: Range): Promise<number> {
    let doneBytes = 0;
    while (doneBytes < range.lengthBytes) {
      const { address, lengthBytes } = rest(range, doneBytes);
      const count = await this.#start('read', (index) =>
        this.#io.read(this.#port, index, fd, positionBytes + doneBytes, address, lengthBytes),
      );
      doneBytes += count;
      // Only its end makes a file give an odd number; going on from there is EINVAL under O_DIRECT.
      if (count === 0 || count % SECTOR_BYTES !== 0) break;
    }
    return doneBytes;
  }

  /** Writes all of `range`. */
  async write(fd: number, positionBytes: number, range: Range): Promise<void> {
    let doneBytes = 0;
    while (doneBytes < range.lengthBytes) {
      const { address, lengthBytes } = rest(range, doneBytes);
      const count = await this.#start('write', (index) =>
        this.#io.write(this.#port, index, fd, positionBytes + doneBytes, address, lengthBytes),
      );
      // A disk that takes nothing and says no error would have us write forever.
      if (count === 0) throw new ErrnoError({ errno: EIO, syscall: 'write' });
      doneBytes += count;
    }
  }

  /** fdatasync: what writes completed before this call wrote is durable when it resolves. */
  async flush(fd: number): Promise<void> {
    await this.#start('fdatasync', (index) => this.#io.flush(this.#port, index, fd));
  }

  /** Resolves with a connection's descriptor. */
  accept(listener: number): Promise<number> {
    return this.#start('accept', (index) => this.#io.accept(this.#port, index, listener));
  }

  /** Resolves with a connection's descriptor. */
  connect(to: SocketAddress): Promise<number> {
    return this.#start('connect', (index) => this.#io.connect(this.#port, index, to));
  }

  /** Receives what is there, 1 to `range.lengthBytes` bytes; resolves with their number, 0 at the peer's end. */
  receive(socket: number, range: Range): Promise<number> {
    return this.#start('recv', (index) =>
      this.#io.receive(this.#port, index, socket, range.address, range.lengthBytes),
    );
  }

  /** Receives until `range` is full or the peer ends. Resolves with the bytes received. */
  async receiveAll(socket: number, range: Range): Promise<number> {
    let doneBytes = 0;
    while (doneBytes < range.lengthBytes) {
      const count = await this.receive(socket, rest(range, doneBytes));
      if (count === 0) break;
      doneBytes += count;
    }
    return doneBytes;
  }

  /** Sends all of `range`. */
  async sendAll(socket: number, range: Range): Promise<void> {
    let doneBytes = 0;
    while (doneBytes < range.lengthBytes) {
      const { address, lengthBytes } = rest(range, doneBytes);
      doneBytes += await this.#start('send', (index) => {
        // Copied by send before it returns.
        this.#segment[0] = address;
        this.#segment[1] = lengthBytes;
        this.#io.send(this.#port, index, socket, this.#segment, 0, 1);
      });
    }
  }

  /** Resolves after `delayMs` (>= 1). */
  async sleep(delayMs: number): Promise<void> {
    await this.#start('timer', (index) => this.#io.timer(this.#port, index, delayMs));
  }

  /** Ends what is in flight on `fd` and closes it. */
  async close(fd: number): Promise<void> {
    await this.#start('close', (index) => this.#io.close(this.#port, index, fd));
  }

  #start(syscall: string, submit: (index: number) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const index = this.#free.pop() ?? this.#waiters.length;
      if (index >= INDEX_LIMIT) throw new RangeError('too many operations are awaited');
      this.#waiters[index] = { syscall, resolve, reject };
      submit(index);
    });
  }

  #onCompletion(index: number, result: number): void {
    const waiter = this.#waiters[index]!;
    this.#waiters[index] = undefined;
    this.#free.push(index);
    if (result < 0) waiter.reject(new ErrnoError({ errno: -result, syscall: waiter.syscall }));
    else waiter.resolve(result);
    // The promise's continuation runs only when the runtime gets control.
    this.#io.yieldTurn();
  }
}

function rest(range: Range, doneBytes: number): Range {
  return { address: range.address + doneBytes, lengthBytes: range.lengthBytes - doneBytes };
}
