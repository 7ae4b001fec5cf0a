/** `env.io` on io_uring: each operation becomes one submission entry, filled here. The loop is {@link Reactor}'s. */

import { assert } from '../../lib/assert.ts';
import { EINVAL, ENAMETOOLONG } from '../../model/errno.ts';
import type { Io, OnCompletion, Port } from '../io.ts';
import { type SocketAddress, socketAddressOf } from '../tcp-address.ts';
import {
  BY_KERNEL_THREAD,
  FSYNC_DATASYNC,
  KIND_CONNECT,
  KIND_FILE,
  KIND_INTERNAL,
  KIND_SHIFT,
  KIND_SOCKET,
  KIND_TIMER,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  NOBODY_WAITS,
  OPCODES_USED,
  OP_ACCEPT,
  OP_CONNECT,
  OP_FSYNC,
  OP_READ,
  OP_RECV,
  OP_SENDMSG,
  OP_TIMEOUT_REMOVE,
  OP_WRITE,
  OP_WRITEV,
  SHUT_RDWR,
  SOCK_CLOEXEC,
  tagOf,
} from './operations.ts';
import { Reactor } from './reactor.ts';
import { type RingOptions, Ring, RingRefused } from './ring.ts';
import { SCRATCH_BYTES, Scratch } from './scratch.ts';
import { openSocket, unixAddress } from './listen.ts';
import { type Syscalls, openSyscalls } from './syscalls.ts';

const PAGE_BYTES_WASM = 65_536;

/**
 * 1024 entries: a full turn of the largest queue the engine keeps. 8192 completions: all that is in flight
 * then fits the completion ring, 128 KiB.
 */
const RING_DEFAULT: RingOptions = { entries: 1024, completionEntries: 8192 };

export type UringIoOptions = {
  /** Arena size; rounded up to 64 KiB. */
  readonly memoryBytes: number;
  readonly ring?: RingOptions;
  /** For tests. */
  readonly system?: Syscalls;
};

/**
 * Arenas and rings whose kernel side may still write into them. Never emptied: an Io lives as long as its process, and
 * memory that the collector freed under an operation in flight would be corruption.
 */
const PINNED = new Set<UringIo>();

/** Opens io_uring with an arena. Throws {@link RingRefused} where the kernel or the runtime lacks what it takes. */
export function openUringIo(options: UringIoOptions): UringIo {
  const io = new UringIo(options.system ?? openSyscalls(), options);
  PINNED.add(io);
  return io;
}

export class UringIo implements Io {
  readonly kind = 'io_uring';
  readonly memory: WebAssembly.Memory;
  /** The ring's set-up flags, for reports. */
  readonly ringFlags: number;

  readonly #system: Syscalls;
  readonly #reactor: Reactor;
  readonly #sqe: Uint32Array;
  readonly #base: number;
  readonly #memoryBytes: number;
  /** Files of which the submission of a transfer can wait for another operation's end. */
  readonly #blocking = new Set<number>();
  /** For trySend alone, which is over when it returns. */
  readonly #messages: Scratch;

  constructor(system: Syscalls, options: UringIoOptions) {
    this.#system = system;
    const ring = openRing(system, options.ring ?? RING_DEFAULT);
    this.ringFlags = ring.flags;
    this.#sqe = ring.sqe;
    const pages = Math.ceil(options.memoryBytes / PAGE_BYTES_WASM);
    // initial = maximum: it can never grow, so its address can never change.
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#memoryBytes = this.memory.buffer.byteLength;
    this.#base = system.address(this.memory.buffer);
    system.keepFromForks(this.#base, this.#memoryBytes);
    const arena = { address: this.#base, lengthBytes: this.#memoryBytes };
    this.#messages = new Scratch(system.mapAnonymous(SCRATCH_BYTES), arena);
    const scratch = new Scratch(system.mapAnonymous(SCRATCH_BYTES), arena);
    this.#reactor = new Reactor(system, { ring, scratch, runtimeFd: system.backendFd() });
  }

  /** Address of the arena's first byte in the process. */
  get arenaAddress(): number {
    return this.#base;
  }

  /**
   * Whether transfers of `fd` are for threads of the kernel. The kernel believes of FUSE files that they never block, and has the
   * submitting thread wait for the lock of a flush, as long as that takes.
   */
  setBlocking(fd: number, isBlocking: boolean): void {
    if (isBlocking) this.#blocking.add(fd);
    else this.#blocking.delete(fd);
  }

  port(onCompletion: OnCompletion): Port {
    // Branded here and nowhere else.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return this.#reactor.addPort(onCompletion) as Port;
  }

  read(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#transfer(OP_READ, tagOf(port, index), fd, positionBytes, address, lengthBytes);
  }

  write(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#transfer(OP_WRITE, tagOf(port, index), fd, positionBytes, address, lengthBytes);
  }

  writev(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    const tag = tagOf(port, index);
    // Before it counts: a range outside of the arena throws and leaves nothing in flight.
    const list = this.#reactor.scratch().segments(segments, first, count);
    if (!this.#reactor.admit(fd, tag)) return;
    const at = this.#reactor.entry(this.#operation(OP_WRITEV, fd), fd, tag, KIND_FILE);
    this.#reactor.position(at, positionBytes);
    this.#reactor.pointAt(at, list, count);
  }

  flush(port: Port, index: number, fd: number): void {
    const tag = tagOf(port, index);
    if (!this.#reactor.admit(fd, tag)) return;
    const at = this.#reactor.entry(OP_FSYNC, fd, tag, KIND_FILE);
    this.#sqe[at + 7] = FSYNC_DATASYNC;
  }

  accept(port: Port, index: number, listener: number): void {
    const tag = tagOf(port, index);
    if (!this.#reactor.admit(listener, tag)) return;
    const at = this.#reactor.entry(OP_ACCEPT, listener, tag, KIND_SOCKET);
    this.#sqe[at + 7] = SOCK_CLOEXEC;
  }

  connect(port: Port, index: number, to: SocketAddress): void {
    const tag = tagOf(port, index);
    const socketAddress = typeof to === 'string' ? unixAddress(to) : socketAddressOf(to);
    if (socketAddress === undefined) {
      this.#reactor.defer(tag, typeof to === 'string' ? -ENAMETOOLONG : -EINVAL);
      return;
    }
    const fd = openSocket(this.#system, socketAddress);
    if (fd < 0) {
      this.#reactor.defer(tag, fd);
      return;
    }
    if (!this.#reactor.admit(fd, tag)) return;
    const copy = this.#reactor.scratch().socketAddress(socketAddress);
    const at = this.#reactor.entry(OP_CONNECT, fd, tag, KIND_CONNECT);
    this.#reactor.pointAt(at, copy, 0);
    this.#sqe[at + 2] = socketAddress.length;
  }

  receive(port: Port, index: number, socket: number, address: number, lengthBytes: number): void {
    assert(this.#holds(address, lengthBytes), 'receives end in the arena');
    const tag = tagOf(port, index);
    if (!this.#reactor.admit(socket, tag)) return;
    const at = this.#reactor.entry(OP_RECV, socket, tag, KIND_SOCKET);
    this.#reactor.pointAt(at, this.#base + address, lengthBytes);
  }

  send(
    port: Port,
    index: number,
    socket: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    const tag = tagOf(port, index);
    const scratch = this.#reactor.scratch();
    const message = scratch.message(scratch.segments(segments, first, count), count);
    if (!this.#reactor.admit(socket, tag)) return;
    const at = this.#reactor.entry(OP_SENDMSG, socket, tag, KIND_SOCKET);
    this.#reactor.pointAt(at, message, 1);
    this.#sqe[at + 7] = MSG_NOSIGNAL;
  }

  trySend(socket: number, segments: Uint32Array, first: number, count: number): number {
    const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    let sent: number;
    if (count === 1) {
      const address = segments[2 * first]!;
      const lengthBytes = segments[2 * first + 1]!;
      assert(this.#holds(address, lengthBytes), 'sends lie in the arena');
      sent = this.#system.send(socket, this.#base + address, lengthBytes, flags);
    } else {
      const messages = this.#messages;
      messages.reset();
      const message = messages.message(messages.segments(segments, first, count), count);
      sent = this.#system.sendmsg(socket, message, flags);
    }
    return sent < 0 ? -this.#system.errno() : sent;
  }

  timer(port: Port, index: number, delayMs: number): void {
    this.#reactor.timeout(delayMs, tagOf(port, index), KIND_TIMER);
  }

  cancelTimer(port: Port, index: number): void {
    const at = this.#reactor.entry(OP_TIMEOUT_REMOVE, 0, NOBODY_WAITS, KIND_INTERNAL);
    // What is removed is named by its user data.
    this.#sqe[at + 4] = tagOf(port, index);
    this.#sqe[at + 5] = KIND_TIMER << KIND_SHIFT;
  }

  close(port: Port, index: number, fd: number): void {
    this.#reactor.close(fd, tagOf(port, index), this.#endWaits);
  }

  submit(): void {
    this.#reactor.submit();
  }

  backlog(): number {
    return this.#reactor.backlog();
  }

  onTurnEnd(hook: () => void): void {
    this.#reactor.addHook(hook);
  }

  yieldTurn(): void {
    this.#reactor.yieldTurn();
  }

  nowUs(): number {
    return performance.now() * 1000;
  }

  get turnCount(): number {
    return this.#reactor.turnCount;
  }

  run(): Promise<void> {
    return this.#reactor.run();
  }

  stop(): void {
    this.#reactor.stop();
  }

  /** One turn by hand, for the self-test and measurements. See {@link Reactor.turn}. */
  turn(wait: boolean): void {
    this.#reactor.turn(wait);
  }

  /** Also false for what is no number. */
  #holds(address: number, lengthBytes: number): boolean {
    return address >= 0 && lengthBytes >= 0 && address + lengthBytes <= this.#memoryBytes;
  }

  #transfer(
    opcode: number,
    tag: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    assert(this.#holds(address, lengthBytes), 'transfers lie in the arena');
    const reactor = this.#reactor;
    if (!reactor.admit(fd, tag)) return;
    const start = this.#base + address;
    const operation = this.#operation(opcode, fd);
    if (reactor.merges.join(operation, tag, fd, positionBytes, start, lengthBytes)) return;
    reactor.transfer(operation, tag, fd, positionBytes, start, lengthBytes);
  }

  #operation(opcode: number, fd: number): number {
    return this.#blocking.size > 0 && this.#blocking.has(fd) ? opcode | BY_KERNEL_THREAD : opcode;
  }

  /**
   * Ends every wait on a socket, also those still to be submitted. Unlike a cancellation by descriptor it needs no
   * kernel 5.19 and cannot miss one; on a file it is ENOTSOCK and nothing.
   */
  readonly #endWaits = (fd: number): void => {
    this.#system.shutdown(fd, SHUT_RDWR);
  };
}

function openRing(system: Syscalls, options: RingOptions): Ring {
  const ring = new Ring(system, options);
  const missing = ring.missing(OPCODES_USED);
  if (missing.length === 0 && system.backendFd() >= 0) return ring;
  system.close(ring.fd);
  throw new RingRefused(`the kernel's io_uring lacks operations ${missing.join(', ')}`);
}
