/**
 * Checks, before any drive is opened, that what we believe of the FFI and of io_uring is so on this machine: C types,
 * the arena's address, each system call, each operation, positions beyond 2 and 4 GiB. Everything is compared with what
 * Node's own calls see. Uses the first bytes of the arena and leaves them zero.
 *
 * What only reads memory comes first: a wrong address then shows as wrong bytes, not as corruption.
 */

import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';

import { EBADF, ECANCELED, EPIPE } from '../../model/errno.ts';
import type { Port } from '../io.ts';
import {
  AF_UNIX,
  OP_POLL_ADD,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
  SO_SNDBUF,
} from './operations.ts';
import { Ring, RingRefused } from './ring.ts';
import { SOCKET_ADDRESS_BYTES } from './scratch.ts';
import { type Syscalls, openSyscalls } from './syscalls.ts';
import { type UringIo, type UringIoOptions, openUringIo } from './uring-io.ts';

/** A step that is not over by then never will be; the whole takes some 10 ms. */
const STEP_US_MAX = 2_000_000;
const MFD_CLOEXEC = 1;
/** Where a 32-bit offset goes wrong: at the sign bit, and beyond the word. */
const POSITIONS: readonly number[] = [0, 2 ** 31, 2 ** 32 + 4096];
const PAGE_BYTES = 4096;
const TYPE_BYTES: readonly (readonly [string, number])[] = [
  ['int', 4],
  ['uint32_t', 4],
  ['long', 8],
  ['size_t', 8],
  ['uintptr_t', 8],
  ['int64_t', 8],
  ['void *', 8],
];

/**
 * Opens io_uring and checks it. Throws {@link RingRefused} with a reason for people if the kernel refuses or
 * if anything is not as expected; the caller then uses the Node maker. `system` is for tests.
 */
export function openTestedUringIo(options: UringIoOptions & { readonly system?: Syscalls }): {
  readonly io: UringIo;
  readonly system: Syscalls;
} {
  const system = options.system ?? openSyscalls();
  checkTypes(system);
  const io = openUringIo({ ...options, system });
  const test = new SelfTest(io, system);
  try {
    test.run();
  } catch (error) {
    throw error instanceof RingRefused
      ? error
      : new RingRefused(`the self-test failed: ${String(error)}`);
  } finally {
    test.close();
  }
  return { io, system };
}

function checkTypes(system: Syscalls): void {
  if (os.endianness() !== 'LE') throw new RingRefused('the layouts are little-endian');
  for (const [type, bytes] of TYPE_BYTES) {
    if (system.sizeof(type) !== bytes) {
      throw new RingRefused(`the self-test failed: sizeof(${type}) is ${system.sizeof(type)}`);
    }
  }
}

class SelfTest {
  readonly #io: UringIo;
  readonly #system: Syscalls;
  readonly #port: Port;
  readonly #arena: Buffer;
  readonly #results = new Map<number, number>();
  readonly #fds = new Set<number>();
  #indexNext = 0;

  constructor(io: UringIo, system: Syscalls) {
    this.#io = io;
    this.#system = system;
    this.#arena = Buffer.from(io.memory.buffer, 0, 4 * PAGE_BYTES);
    this.#port = io.port((index, result) => this.#results.set(index, result));
  }

  run(): void {
    this.#testArena();
    this.#testPoll();
    this.#testTimers();
    this.#testFile();
    this.#testStream();
    this.#testSocketOption();
    this.#testConnection();
    this.#testClose();
  }

  close(): void {
    for (const fd of this.#fds) this.#system.close(fd);
    this.#arena.fill(0);
  }

  /** The address of the arena, send and sendmsg: bytes leave the arena and nothing enters it. */
  #testArena(): void {
    this.#expect('the arena starts on a page', this.#io.arenaAddress % PAGE_BYTES, 0);
    const [left, right] = this.#socketPair();
    this.#arena.write('arena-one', 100, 'latin1');
    this.#arena.write('-two', 300, 'latin1');
    this.#expect('send', this.#io.trySend(left, Uint32Array.of(100, 9), 0, 1), 9);
    this.#expectRead(right, 'arena-one');
    this.#expect('sendmsg', this.#io.trySend(left, Uint32Array.of(0, 0, 102, 7, 300, 4), 1, 2), 11);
    this.#expectRead(right, 'ena-one-two');
    this.#closeNow(right);
    this.#expect('send to nobody', this.#io.trySend(left, Uint32Array.of(100, 9), 0, 1), -EPIPE);
    this.#closeNow(left);
  }

  /** A ring of its own: the wait for a readable descriptor, the user data, and the descriptor of Node's loop. */
  #testPoll(): void {
    const link = fs.readlinkSync(`/proc/self/fd/${this.#system.backendFd()}`);
    this.#expect('descriptor of the event loop', link, 'anon_inode:[eventpoll]');
    const ring = new Ring(this.#system, { entries: 8, completionEntries: 16 });
    this.#fds.add(ring.fd);
    const [left, right] = this.#socketPair();
    const at = ring.take();
    ring.sqe.fill(0, at, at + 16);
    ring.sqe.set([OP_POLL_ADD, right, 0, 0, 0, 0, 0, POLLIN, 0xfedc_ba98, 0x1234_5678], at);
    ring.enter(0, true);
    this.#expect('no event before there is one', ring.ready, 0);
    this.#expect('write to a socket', fs.writeSync(left, 'x'), 1);
    ring.enter(1, true);
    this.#expect('one event', ring.ready, 1);
    const event = ring.peek();
    this.#expect('user data, low', ring.word(event) >>> 0, 0xfedc_ba98);
    this.#expect('user data, high', ring.word(event + 1) >>> 0, 0x1234_5678);
    this.#expect('readable', ring.word(event + 2) & POLLIN, POLLIN);
    for (const fd of [left, right, ring.fd]) this.#closeNow(fd);
  }

  #testTimers(): void {
    const started = this.#io.nowUs();
    this.#expect(
      'timer',
      this.#do((index) => this.#io.timer(this.#port, index, 2)),
      0,
    );
    const elapsedUs = this.#io.nowUs() - started;
    if (elapsedUs < 2000) throw new RingRefused(`a timer of 2 ms took ${elapsedUs} us`);
    const ended = this.#do((index) => {
      this.#io.timer(this.#port, index, 60_000);
      this.#io.cancelTimer(this.#port, index);
    });
    this.#expect('cancelled timer', ended, -ECANCELED);
  }

  /** Reads and writes of a sparse file in memory, checked through Node. */
  #testFile(): void {
    const fd = this.#system.memfdCreate('holdfast-self-test', MFD_CLOEXEC);
    if (fd < 0)
      throw new RingRefused(`the self-test got no memory file (errno ${this.#system.errno()})`);
    this.#fds.add(fd);
    fs.ftruncateSync(fd, 2 ** 32 + 4 * PAGE_BYTES);
    for (const position of POSITIONS) this.#testPosition(fd, position);
    this.#expect(
      'flush',
      this.#do((index) => this.#io.flush(this.#port, index, fd)),
      0,
    );
    const beyond = 2 ** 32 + 4 * PAGE_BYTES;
    const atEnd = this.#do((index) => this.#io.read(this.#port, index, fd, beyond, 0, 512));
    this.#expect('read at the end', atEnd, 0);
    this.#closeNow(fd);
    const closed = this.#do((index) => this.#io.read(this.#port, index, fd, 0, 0, 512));
    this.#expect('read of a closed descriptor', closed, -EBADF);
  }

  #testPosition(fd: number, position: number): void {
    const io = this.#io;
    fs.writeSync(fd, `read at ${position}`, position, 'latin1');
    const lengthBytes = 8 + String(position).length;
    const read = this.#do((index) => io.read(this.#port, index, fd, position, 64, lengthBytes));
    this.#expect('read', read, lengthBytes);
    const text = this.#arena.toString('latin1', 64, 64 + lengthBytes);
    this.#expect('bytes read', text, `read at ${position}`);

    this.#arena.write('written', 512, 'latin1');
    const write = this.#do((index) => io.write(this.#port, index, fd, position + 1024, 512, 7));
    this.#expect('write', write, 7);
    const segments = Uint32Array.of(0, 0, 512, 5, 514, 2, 516, 3);
    const vector = this.#do((index) => {
      io.writev(this.#port, index, fd, position + 2048, segments, 1, 3);
      segments.fill(0);
    });
    this.#expect('writev', vector, 10);
    const seen = Buffer.alloc(20);
    fs.readSync(fd, seen, 0, 7, position + 1024);
    fs.readSync(fd, seen, 7, 10, position + 2048);
    this.#expect('bytes written', seen.toString('latin1'), 'writtenwrittitten\0\0\0');
  }

  #testStream(): void {
    const io = this.#io;
    const [left, right] = this.#socketPair();
    this.#arena.write('<stream>', 700, 'latin1');
    this.#arena.fill(0, 0, 64);
    const received = this.#do((index) => {
      io.receive(this.#port, index, right, 3, 60);
      io.turn(false);
      const sent = this.#do((i) =>
        io.send(this.#port, i, left, Uint32Array.of(701, 6, 700, 1, 707, 1), 0, 3),
      );
      this.#expect('send', sent, 8);
    });
    this.#expect('receive', received, 8);
    this.#expect('bytes received', this.#arena.toString('latin1', 2, 12), '\0stream<>\0');
    this.#closeNow(right);
    const toNobody = this.#do((index) =>
      io.send(this.#port, index, left, Uint32Array.of(700, 1), 0, 1),
    );
    this.#expect('send to nobody', toNobody, -EPIPE);
    this.#closeNow(left);
  }

  /** A socket with a small buffer takes less than it is given. */
  #testSocketOption(): void {
    const [left, right] = this.#socketPair();
    const size = Uint8Array.of(1, 0, 0, 0);
    const set = this.#system.setsockopt(left, SOL_SOCKET, SO_SNDBUF, size, size.length);
    this.#expect('setsockopt', set, 0);
    const givenBytes = this.#arena.length;
    const taken = this.#io.trySend(left, Uint32Array.of(0, givenBytes), 0, 1);
    this.#expect(
      'a send to a small buffer',
      taken > 0 && taken < givenBytes ? 'part' : taken,
      'part',
    );
    this.#closeNow(left);
    this.#closeNow(right);
  }

  /** accept and connect, at an address without a file: a name that starts with NUL. */
  #testConnection(): void {
    const name = `\0holdfast-self-test-${process.pid}`;
    const address = new Uint8Array(SOCKET_ADDRESS_BYTES);
    address[0] = AF_UNIX;
    address.set(Buffer.from(name, 'latin1'), 2);
    const listener = this.#system.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    this.#fds.add(listener);
    this.#expect('bind', this.#system.bind(listener, address, SOCKET_ADDRESS_BYTES), 0);
    this.#expect('listen', this.#system.listen(listener, 1), 0);
    const bound = new Uint8Array(SOCKET_ADDRESS_BYTES + 1);
    const length = Uint32Array.of(SOCKET_ADDRESS_BYTES + 1);
    this.#expect('getsockname', this.#system.getsockname(listener, bound, length), 0);
    this.#expect('length of the name', length[0]!, SOCKET_ADDRESS_BYTES);
    this.#expect('name', Buffer.from(bound).toString('latin1', 2, 2 + name.length), name);
    let client = -1;
    const server = this.#do((index) => {
      this.#io.accept(this.#port, index, listener);
      client = this.#do((i) => this.#io.connect(this.#port, i, name));
      this.#expectDescriptor('connect', client);
    });
    this.#expectDescriptor('accept', server);
    this.#expect('write to a connection', fs.writeSync(client, 'hello'), 5);
    this.#expectRead(server, 'hello');
    for (const fd of [listener, client, server]) this.#closeNow(fd);
  }

  /** close ends what waits on the descriptor, and closes that one. */
  #testClose(): void {
    const [left, right] = this.#socketPair();
    let closed = -1;
    const received = this.#do((index) => {
      this.#io.receive(this.#port, index, left, 0, 8);
      this.#io.turn(false);
      closed = this.#do((i) => this.#io.close(this.#port, i, left));
    });
    this.#expect('receive of a closed socket', received, -ECANCELED);
    this.#expect('close', closed, 0);
    this.#fds.delete(left);
    this.#expectRead(right, '');
    this.#closeNow(right);
  }

  /** Submits one operation and turns until its completion; returns its result. */
  #do(submit: (index: number) => void): number {
    const index = this.#indexNext;
    this.#indexNext += 1;
    submit(index);
    const deadline = this.#io.nowUs() + STEP_US_MAX;
    while (!this.#results.has(index)) {
      this.#io.turn(false);
      if (this.#io.nowUs() > deadline)
        throw new RingRefused(`the self-test waits for operation ${index} in vain`);
    }
    return this.#results.get(index)!;
  }

  #socketPair(): [number, number] {
    const pair = new Int32Array(2);
    const result = this.#system.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    this.#expect('socketpair', result, 0);
    const [left, right] = [pair[0]!, pair[1]!];
    this.#expectDescriptor('socketpair', left);
    this.#expectDescriptor('socketpair', right);
    this.#fds.add(left);
    this.#fds.add(right);
    return [left, right];
  }

  #closeNow(fd: number): void {
    this.#fds.delete(fd);
    fs.closeSync(fd);
  }

  #expectDescriptor(what: string, fd: number): void {
    const open = fd > 2 && fs.existsSync(`/proc/self/fd/${fd}`);
    if (!open) throw new RingRefused(`the self-test failed: ${what} gives descriptor ${fd}`);
  }

  #expectRead(fd: number, text: string): void {
    const bytes = Buffer.alloc(64);
    this.#expect('bytes sent', bytes.toString('latin1', 0, fs.readSync(fd, bytes)), text);
  }

  #expect(what: string, actual: number | string, expected: number | string): void {
    if (actual === expected) return;
    const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
    throw new RingRefused(`the self-test failed: ${what} gives ${got} instead of ${wanted}`);
  }
}
