/**
 * `env.io` on Node's own asynchronous calls: what runs where io_uring is refused. Its turns are Node's: results
 * gather while the event loop polls, and are delivered together by one setImmediate.
 */

import fs from 'node:fs';

import { assert } from '../../lib/assert.ts';
import { EBADF, ECANCELED } from '../../model/errno.ts';
import {
  type Io,
  type OnCompletion,
  type Port,
  INDEX_LIMIT,
  PORT_COUNT_MAX,
  SEGMENT_COUNT_MAX,
} from '../io.ts';
import type { TcpListener } from '../env.ts';
import type { SocketAddress, TcpAddress } from '../tcp-address.ts';
import { Descriptors, NONE } from '../descriptors.ts';
import { errnoOf } from './errno-of.ts';
import { NodeSockets, SOCKET_FIRST } from './node-sockets.ts';

const PAGE_BYTES_WASM = 65_536;
const INDEX_BITS = 24;
/** Keeps the process alive while `run` waits; it fires every 12 days and does nothing. */
const KEEP_ALIVE_MS: number = 2 ** 30;

export class NodeIo implements Io {
  readonly kind = 'node';
  readonly memory: WebAssembly.Memory;

  readonly #bytes: Uint8Array;
  readonly #sockets: NodeSockets;
  readonly #descriptors = new Descriptors();
  readonly #timers = new Map<number, NodeJS.Timeout>();
  readonly #ports: OnCompletion[] = [];
  readonly #hooks: (() => void)[] = [];
  /** (tag, result) of what ended. */
  #ended: number[] = [];
  /** Of the batch being delivered: completions still to come. */
  #left = 0;
  #turnAsked = false;
  turnCount = 0;
  #onStop: (() => void) | undefined;

  /** `memoryBytes` is rounded up to 64 KiB. */
  constructor(options: { readonly memoryBytes: number }) {
    const pages = Math.ceil(options.memoryBytes / PAGE_BYTES_WASM);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#sockets = new NodeSockets(this.#bytes, (tag, result) => this.#end(tag, result));
  }

  /** For {@link import('../env.ts').Files.listen}. */
  listen(path: string): Promise<number> {
    return this.#sockets.listen(path);
  }

  listenTcp(address: TcpAddress): Promise<TcpListener> {
    return this.#sockets.listenTcp(address);
  }

  port(onCompletion: OnCompletion): Port {
    assert(this.#ports.length < PORT_COUNT_MAX, 'there are at most 255 ports');
    // Branded here and nowhere else.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return (this.#ports.push(onCompletion) - 1) as Port;
  }

  read(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#checkRange(address, lengthBytes);
    const end = this.#startFile(tagOf(port, index), fd);
    if (end !== undefined) fs.read(fd, this.#bytes, address, lengthBytes, positionBytes, end);
  }

  write(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#checkRange(address, lengthBytes);
    const end = this.#startFile(tagOf(port, index), fd);
    if (end !== undefined) fs.write(fd, this.#bytes, address, lengthBytes, positionBytes, end);
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
    const views = this.#views(segments, first, count);
    const end = this.#startFile(tagOf(port, index), fd);
    if (end !== undefined) fs.writev(fd, views, positionBytes, end);
  }

  flush(port: Port, index: number, fd: number): void {
    const end = this.#startFile(tagOf(port, index), fd);
    if (end !== undefined) fs.fdatasync(fd, end);
  }

  accept(port: Port, index: number, listener: number): void {
    this.#sockets.accept(tagOf(port, index), listener);
  }

  connect(port: Port, index: number, to: SocketAddress): void {
    this.#sockets.connect(tagOf(port, index), to);
  }

  receive(port: Port, index: number, socket: number, address: number, lengthBytes: number): void {
    this.#checkRange(address, lengthBytes);
    this.#sockets.receive(tagOf(port, index), socket, address, lengthBytes);
  }

  send(
    port: Port,
    index: number,
    socket: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    this.#sockets.send(tagOf(port, index), socket, this.#views(segments, first, count));
  }

  trySend(socket: number, segments: Uint32Array, first: number, count: number): number {
    return this.#sockets.trySend(socket, this.#views(segments, first, count));
  }

  timer(port: Port, index: number, delayMs: number): void {
    const tag = tagOf(port, index);
    const timer = setTimeout(() => {
      this.#timers.delete(tag);
      this.#end(tag, 0);
    }, delayMs);
    this.#timers.set(tag, timer);
  }

  cancelTimer(port: Port, index: number): void {
    const tag = tagOf(port, index);
    const timer = this.#timers.get(tag);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(tag);
    this.#end(tag, -ECANCELED);
  }

  close(port: Port, index: number, fd: number): void {
    const tag = tagOf(port, index);
    if (fd >= SOCKET_FIRST) {
      this.#sockets.close(tag, fd);
      return;
    }
    const inFlight = this.#descriptors.startClose(fd, tag);
    if (inFlight < 0) this.#end(tag, -EBADF);
    else if (inFlight === 0) this.#closeFile(fd, tag);
  }

  /** Everything starts when it is submitted. */
  submit(): void {}

  backlog(): number {
    return this.#left + this.#ended.length / 2;
  }

  onTurnEnd(hook: () => void): void {
    this.#hooks.push(hook);
  }

  yieldTurn(): void {
    this.#askTurn();
  }

  nowUs(): number {
    return performance.now() * 1000;
  }

  run(): Promise<void> {
    assert(this.#onStop === undefined, 'one run at a time');
    const keepAlive = setInterval(() => {}, KEEP_ALIVE_MS);
    const running = new Promise<void>((resolve) => {
      this.#onStop = resolve;
    });
    this.#turnAsked = false;
    this.#askTurn();
    return running.finally(() => clearInterval(keepAlive));
  }

  stop(): void {
    const onStop = this.#onStop;
    this.#onStop = undefined;
    onStop?.();
  }

  #checkRange(address: number, lengthBytes: number): void {
    const inside = address >= 0 && lengthBytes >= 0 && address + lengthBytes <= this.#bytes.length;
    assert(inside, 'transfers lie in the arena');
  }

  #views(segments: Uint32Array, first: number, count: number): Uint8Array[] {
    assert(count >= 1 && count <= SEGMENT_COUNT_MAX, 'a segment list has 1 to 256 segments');
    const views: Uint8Array[] = [];
    for (let i = 2 * first; i < 2 * (first + count); i += 2) {
      this.#checkRange(segments[i]!, segments[i + 1]!);
      views.push(this.#bytes.subarray(segments[i], segments[i]! + segments[i + 1]!));
    }
    return views;
  }

  /** Counts an operation on a file in and returns what ends it, or undefined if it ended already. */
  #startFile(tag: number, fd: number): ((error: Error | null, count?: number) => void) | undefined {
    if (fd >= SOCKET_FIRST || !this.#descriptors.admit(fd)) {
      this.#end(tag, -EBADF);
      return undefined;
    }
    return (error, count = 0) => {
      this.#end(tag, error ? -errnoOf(error) : count);
      const closeTag = this.#descriptors.release(fd);
      if (closeTag !== NONE) this.#closeFile(fd, closeTag);
    };
  }

  #closeFile(fd: number, tag: number): void {
    fs.close(fd, (error) => {
      this.#descriptors.endClose(fd);
      this.#end(tag, error ? -errnoOf(error) : 0);
    });
  }

  #end(tag: number, result: number): void {
    this.#ended.push(tag, result);
    this.#askTurn();
  }

  #askTurn(): void {
    if (this.#turnAsked) return;
    this.#turnAsked = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#turnAsked = false;
    this.turnCount += 1;
    // Results that come while nobody runs the loop wait for the next run.
    if (this.#onStop === undefined) return;
    const ended = this.#ended;
    this.#ended = [];
    this.#left = ended.length / 2;
    for (let i = 0; i < ended.length; i += 2) {
      this.#left -= 1;
      const tag = ended[i]!;
      this.#ports[tag >>> INDEX_BITS]!(tag & (INDEX_LIMIT - 1), ended[i + 1]!);
    }
    for (const hook of this.#hooks) hook();
  }
}

function tagOf(port: Port, index: number): number {
  return (port << INDEX_BITS) | index;
}
