/**
 * `env.io`: the I/O path's face of Env. Operations are submitted with a port and an index; each ends in
 * exactly one completion that carries that index and a result. No Promise, no allocation per operation.
 * Three makers: io_uring (env/uring), Node's async calls (env/node), the simulator (sim/). One compliance
 * suite (env/io-compliance.ts) runs against all of them.
 *
 * Rules that callers and makers keep:
 *  1. Memory is one arena: a fixed WebAssembly.Memory (page-aligned, never grown). An `address` is a byte
 *     offset in it. Bytes named by a read, write, send or receive belong to the operation until its completion.
 *  2. A completion is never delivered inside the call that submitted its operation.
 *  3. A port has at most one operation in flight per index.
 *  4. A descriptor is closed only by `close`, which completes after every operation on it completed.
 *  5. Results: >= 0 as the system call would return, or a negative errno (model/errno.ts).
 *     Short reads, writes and sends are reported as they are: the caller goes on from there.
 *  6. An operation on a descriptor that is closed or being closed ends with -EBADF, a second close too.
 *  7. An address range outside the arena is a bug and throws; nothing reaches the kernel.
 *  8. An Io lives as long as its process, and one reactor runs in a process: two would wait for each other.
 */

import type { SocketAddress } from './tcp-address.ts';

/** A queue of completions, made by {@link Io.port}. */
export type Port = number & { readonly __brand: 'Port' };

/** Ports per Io: the completion tag is 32 bits, 8 for the port and 24 for the index. */
export const PORT_COUNT_MAX = 255;
/** Indexes are below this. */
export const INDEX_LIMIT: number = 1 << 24;
/** Segments of one vectored operation: the kernel's IOV_MAX is 1024; 256 covers a 1 MiB log frame of single blocks. */
export const SEGMENT_COUNT_MAX = 256;

export type IoKind = 'io_uring' | 'node' | 'sim';

/** Called with the index of the operation and its result. It may submit further operations. Must not throw. */
export type OnCompletion = (index: number, result: number) => void;

/** A named operation to submit: the port that hears of its end, and the caller's number for it. */
export type Io = {
  readonly kind: IoKind;
  /** The arena. Its buffer is never detached. */
  readonly memory: WebAssembly.Memory;
  /** Opens a port. Ports live as long as the Io; there are at most {@link PORT_COUNT_MAX}. */
  port(onCompletion: OnCompletion): Port;

  /** Reads `lengthBytes` at `positionBytes` of file `fd` to `address`. With O_DIRECT all three are multiples of the drive's sector. */
  read(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void;
  /** Writes. Same shapes as {@link Io.read}. */
  write(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void;
  /**
   * Writes `count` segments, one after the other, at `positionBytes`. `segments` holds (address, lengthBytes)
   * pairs from element `2 * first`; it is copied before the call returns. 1 <= count <= SEGMENT_COUNT_MAX.
   */
  writev(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void;
  /**
   * fdatasync: makes durable what writes completed *before this call* wrote. Writes still in flight are not covered.
   */
  flush(port: Port, index: number, fd: number): void;

  /** Waits for a client of `listener`; the result is the connection's descriptor. */
  accept(port: Port, index: number, listener: number): void;
  /**
   * Connects to a unix socket, or over TCP with TCP_NODELAY; the result is the connection's descriptor. How long a machine that
   * does not answer is tried is the kernel's to say: some two minutes.
   */
  connect(port: Port, index: number, to: SocketAddress): void;
  /** Receives 1 to `lengthBytes` bytes; 0 means the peer ended. At most one in flight per socket. */
  receive(port: Port, index: number, socket: number, address: number, lengthBytes: number): void;
  /**
   * Sends segments (as in {@link Io.writev}); the result is the number of bytes taken, at least 1.
   * At most one in flight per socket.
   */
  send(
    port: Port,
    index: number,
    socket: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void;
  /**
   * Sends what the socket takes at once, without waiting: bytes taken (the bytes are then free again), or -EAGAIN,
   * or another negative errno. Not while a `send` on this socket is in flight.
   */
  trySend(socket: number, segments: Uint32Array, first: number, count: number): number;

  /** Completes with 0 after `delayMs` (>= 1), or with -ECANCELED. */
  timer(port: Port, index: number, delayMs: number): void;
  /** Ends a timer early. Harmless if it has completed. */
  cancelTimer(port: Port, index: number): void;

  /**
   * Cancels what is in flight on `fd` (it completes with -ECANCELED or as it happened to end), then closes it, then
   * completes with 0 on (port, index). Disk writes and flushes are never cancelled but waited for.
   */
  close(port: Port, index: number, fd: number): void;

  /** Starts what was submitted so far, now. Otherwise it starts at the end of the turn at the latest. */
  submit(): void;
  /** Completions already known and not yet delivered in this turn: 0 means that the reactor is about to wait. */
  backlog(): number;
  /**
   * Registers `hook`, called after each batch of completions and before the reactor waits, also when code outside of a turn
   * has run in between; in order of registration.
   */
  onTurnEnd(hook: () => void): void;
  /**
   * Asks that this turn return to the runtime, so that Promise jobs, signals and immediates run before the next wait.
   * The Promise wrappers in env/io-async.ts call it; hot paths never do.
   */
  yieldTurn(): void;
  /** Microseconds of a clock that never goes back. */
  nowUs(): number;
  /** Rises before each batch of completions is delivered: a clock read after it did is no older than what the batch tells of. */
  readonly turnCount: number;

  /** Runs turns until `stop`. While nothing is in flight it waits without polling and without a timer. */
  run(): Promise<void>;
  /** Ends `run` after the turn under way. */
  stop(): void;
};
