/**
 * The face of `env.io` that one open drive gets: it counts what is in flight, and its ports and hooks are used again when the drive is
 * closed. Ports of env.io are 255 for the life of the process, and a drive takes eight; a region of the arena is another
 * drive's only when nothing that names its bytes is in flight any more.
 */

import { assert } from '../lib/assert.ts';
import type { Io, IoKind, OnCompletion, Port } from '../env/io.ts';
import type { SocketAddress } from '../env/tcp-address.ts';

/** Ports and hooks of env.io, lent to one drive after the other. */
export class IoStock {
  readonly io: Io;
  readonly #ports: Port[] = [];
  readonly #callbacks: OnCompletion[] = [];
  #lent = 0;
  #hooks: (() => void)[] = [];
  #isHooked = false;
  /** Operations in flight on the lent ports. */
  inFlight = 0;

  constructor(io: Io) {
    this.io = io;
  }

  /** Takes back all ports and hooks. */
  reset(): void {
    assert(this.inFlight === 0, 'ports are lent again when nothing of them is in flight');
    this.#lent = 0;
    this.#hooks = [];
  }

  port(onCompletion: OnCompletion): Port {
    const index = this.#lent;
    this.#lent += 1;
    this.#callbacks[index] = onCompletion;
    const known = this.#ports[index];
    if (known !== undefined) return known;
    const port = this.io.port((operation, result) => {
      this.inFlight -= 1;
      this.#callbacks[index]!(operation, result);
    });
    this.#ports.push(port);
    return port;
  }

  /** Calls `hook` at the end of turns until the next reset. */
  onTurnEnd(hook: () => void): void {
    this.#hooks.push(hook);
    if (this.#isHooked) return;
    this.#isHooked = true;
    this.io.onTurnEnd(() => {
      for (const each of this.#hooks) each();
    });
  }
}

export class DriveIo implements Io {
  readonly kind: IoKind;
  readonly memory: WebAssembly.Memory;
  readonly #stock: IoStock;
  readonly #io: Io;

  /** Over a stock that was reset. */
  constructor(stock: IoStock) {
    this.#stock = stock;
    this.#io = stock.io;
    this.kind = stock.io.kind;
    this.memory = stock.io.memory;
  }

  port(onCompletion: OnCompletion): Port {
    return this.#stock.port(onCompletion);
  }

  read(port: Port, index: number, fd: number, at: number, address: number, length: number): void {
    this.#stock.inFlight += 1;
    this.#io.read(port, index, fd, at, address, length);
  }

  write(port: Port, index: number, fd: number, at: number, address: number, length: number): void {
    this.#stock.inFlight += 1;
    this.#io.write(port, index, fd, at, address, length);
  }

  writev(
    port: Port,
    index: number,
    fd: number,
    at: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    this.#stock.inFlight += 1;
    this.#io.writev(port, index, fd, at, segments, first, count);
  }

  flush(port: Port, index: number, fd: number): void {
    this.#stock.inFlight += 1;
    this.#io.flush(port, index, fd);
  }

  accept(port: Port, index: number, listener: number): void {
    this.#stock.inFlight += 1;
    this.#io.accept(port, index, listener);
  }

  connect(port: Port, index: number, to: SocketAddress): void {
    this.#stock.inFlight += 1;
    this.#io.connect(port, index, to);
  }

  receive(port: Port, index: number, socket: number, address: number, length: number): void {
    this.#stock.inFlight += 1;
    this.#io.receive(port, index, socket, address, length);
  }

  send(
    port: Port,
    index: number,
    socket: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    this.#stock.inFlight += 1;
    this.#io.send(port, index, socket, segments, first, count);
  }

  trySend(socket: number, segments: Uint32Array, first: number, count: number): number {
    return this.#io.trySend(socket, segments, first, count);
  }

  timer(port: Port, index: number, delayMs: number): void {
    this.#stock.inFlight += 1;
    this.#io.timer(port, index, delayMs);
  }

  cancelTimer(port: Port, index: number): void {
    this.#io.cancelTimer(port, index);
  }

  close(port: Port, index: number, fd: number): void {
    this.#stock.inFlight += 1;
    this.#io.close(port, index, fd);
  }

  submit(): void {
    this.#io.submit();
  }

  backlog(): number {
    return this.#io.backlog();
  }

  onTurnEnd(hook: () => void): void {
    this.#stock.onTurnEnd(hook);
  }

  yieldTurn(): void {
    this.#io.yieldTurn();
  }

  get turnCount(): number {
    return this.#io.turnCount;
  }

  nowUs(): number {
    return this.#io.nowUs();
  }

  run(): Promise<void> {
    return this.#io.run();
  }

  stop(): void {
    this.#io.stop();
  }
}
