/**
 * `env.io` in the simulator: one process's reactor over simulated drives and sockets, on virtual time. Completions come in
 * an order and with delays that the seed chooses, several in one turn where they meet.
 */

import { assert } from '../src/lib/assert.ts';
import { EBADF, ECANCELED } from '../src/model/errno.ts';
import { SEGMENT_COUNT_MAX, type Io, type OnCompletion, type Port } from '../src/env/io.ts';
import type { SocketAddress } from '../src/env/tcp-address.ts';
import { type Handle, type OpenHandle, SimHandles } from './sim-handles.ts';
import type { SimMachine } from './sim-machine.ts';
import { SimMemory } from './sim-memory.ts';
import { SimOperation } from './sim-operation.ts';
import { keyOf, SimPorts } from './sim-ports.ts';
import type { SimSocketEnd, SocketTag } from './sim-sockets.ts';
import type { Happening, World } from './world.ts';

type Waiting = {
  readonly operation: SimOperation;
  readonly handle: Handle;
  readonly end: (result: number) => void;
};

type Timer = {
  readonly happening: Happening;
  readonly complete: (result: number) => void;
};

export class SimIo implements Io {
  readonly kind = 'sim';
  readonly memory: WebAssembly.Memory;
  readonly #arena: SimMemory;
  readonly #machine: SimMachine;
  readonly #world: World;
  readonly #ports = new SimPorts();
  readonly #hooks: (() => void)[] = [];
  readonly #handles: SimHandles;
  /** Submitted in this turn, not yet started. */
  #waiting: Waiting[] = [];
  readonly #running = new Map<SimOperation, Handle>();
  /** Ended, and the process does not know it yet. */
  readonly #ended = new Set<SimOperation>();
  #ready: (() => void)[] = [];
  /** By {@link keyOf}. */
  readonly #timers = new Map<number, Timer>();
  #turnScheduled = false;
  turnCount = 0;
  #dead = false;
  #onStop: (() => void) | undefined;
  readonly #onSettled = (): void => this.#afterRuntime();

  constructor(machine: SimMachine, memory: WebAssembly.Memory) {
    this.#machine = machine;
    this.#world = machine.world;
    this.memory = memory;
    this.#arena = new SimMemory(memory);
    this.#handles = new SimHandles((handle) => machine.onClosed(handle));
    this.#world.onSettled(this.#onSettled);
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** Operations on drives that have started and not ended. */
  get runningCount(): number {
    return this.#running.size;
  }

  port(onCompletion: OnCompletion): Port {
    return this.#ports.open(onCompletion);
  }

  read(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#transfer('read', { port, index, fd }, positionBytes, [address, lengthBytes]);
  }

  write(
    port: Port,
    index: number,
    fd: number,
    positionBytes: number,
    address: number,
    lengthBytes: number,
  ): void {
    this.#transfer('write', { port, index, fd }, positionBytes, [address, lengthBytes]);
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
    assert(count >= 1 && count <= SEGMENT_COUNT_MAX, 'a vectored write has 1 to 256 segments');
    const pairs = [...segments.subarray(2 * first, 2 * (first + count))];
    this.#transfer('write', { port, index, fd }, positionBytes, pairs);
  }

  flush(port: Port, index: number, fd: number): void {
    this.#transfer('flush', { port, index, fd }, 0, []);
  }

  #transfer(
    kind: 'read' | 'write' | 'flush',
    tag: { readonly port: Port; readonly index: number; readonly fd: number },
    positionBytes: number,
    segments: number[],
  ): void {
    if (this.#dead) return;
    assert(
      Number.isSafeInteger(positionBytes) && positionBytes >= 0,
      `a position is a place: ${positionBytes}`,
    );
    for (let i = 0; i < segments.length; i += 2) this.#arena.view(segments[i], segments[i + 1]);
    const complete = this.#ports.admit(tag.port, tag.index);
    const handle = this.#handles.usable(tag.fd);
    if (handle?.kind !== 'disk' || (handle.readOnly && kind === 'write')) {
      this.#soon(() => complete(-EBADF));
      return;
    }
    const { disk } = handle;
    const operation = new SimOperation(this.#world, {
      kind,
      disk,
      positionBytes,
      segments,
      memory: this.#arena.bytes,
    });
    handle.inFlight++;
    const end = (result: number): void => {
      // To the program a write has completed when it is told so, not before.
      operation.completed = disk.tick();
      this.#ended.delete(operation);
      this.#handles.release(handle);
      complete(result);
    };
    this.#waiting.push({ operation, handle, end });
    if (this.#waiting.length === 1) this.#scheduleTurn();
  }

  accept(port: Port, index: number, listener: number): void {
    this.#machine.sockets.accept(this.#socketTag(port, index, listener), (end) => this.#adopt(end));
  }

  connect(port: Port, index: number, to: SocketAddress): void {
    const complete = this.#ports.admit(port, index);
    this.#machine.sockets.connect(to, {
      later: (run) => this.#later(run),
      done: (end, errno) => complete(end === undefined ? -errno : this.#adopt(end)),
    });
  }

  receive(port: Port, index: number, socket: number, address: number, lengthBytes: number): void {
    const into = this.#arena.view(address, lengthBytes);
    this.#machine.sockets.receive(this.#socketTag(port, index, socket), into);
  }

  send(
    port: Port,
    index: number,
    socket: number,
    segments: Uint32Array,
    first: number,
    count: number,
  ): void {
    const views = this.#arena.views(segments, first, count);
    this.#machine.sockets.send(this.#socketTag(port, index, socket), views);
  }

  trySend(socket: number, segments: Uint32Array, first: number, count: number): number {
    const views = this.#arena.views(segments, first, count);
    const handle = this.#handles.usable(socket);
    if (handle?.kind !== 'socket') return -EBADF;
    return this.#machine.sockets.trySend(handle.end, views);
  }

  /** What an operation on a socket needs: its handle, and how it ends. */
  #socketTag(port: Port, index: number, fd: number): SocketTag {
    const complete = this.#ports.admit(port, index);
    const handle = this.#handles.get(fd);
    if (handle !== undefined) handle.inFlight++;
    return {
      handle: handle?.onIdle === undefined ? handle : undefined,
      later: (run) => this.#later(run),
      done: (result) =>
        this.#soon(() => {
          if (handle !== undefined) this.#handles.release(handle);
          complete(result);
        }),
    };
  }

  #adopt(end: SimSocketEnd): number {
    return this.openHandle({ kind: 'socket', end });
  }

  timer(port: Port, index: number, delayMs: number): void {
    if (this.#dead) return;
    assert(delayMs >= 1, 'a timer takes at least 1 ms');
    const complete = this.#ports.admit(port, index);
    const key = keyOf(port, index);
    const happening = this.#world.schedule(delayMs * 1000, () => {
      this.#timers.delete(key);
      this.#soon(() => complete(0));
    });
    this.#timers.set(key, { happening, complete });
  }

  cancelTimer(port: Port, index: number): void {
    const key = keyOf(port, index);
    const timer = this.#timers.get(key);
    if (timer === undefined) return;
    timer.happening.cancelled = true;
    this.#timers.delete(key);
    this.#soon(() => timer.complete(-ECANCELED));
  }

  close(port: Port, index: number, fd: number): void {
    if (this.#dead) return;
    const complete = this.#ports.admit(port, index);
    const handle = this.#handles.usable(fd);
    if (handle === undefined) {
      this.#soon(() => complete(-EBADF));
      return;
    }
    handle.onIdle = () => {
      this.#handles.close(fd);
      this.#soon(() => complete(0));
    };
    this.#machine.sockets.cancel(handle);
    if (handle.inFlight === 0) handle.onIdle();
  }

  submit(): void {
    this.#startWaiting();
  }

  backlog(): number {
    return this.#ready.length;
  }

  onTurnEnd(hook: () => void): void {
    this.#hooks.push(hook);
  }

  yieldTurn(): void {
    if (!this.#dead) this.#world.askToSettle();
  }

  nowUs(): number {
    return this.#world.nowUs;
  }

  run(): Promise<void> {
    return new Promise((resolve) => {
      this.#onStop = resolve;
    });
  }

  stop(): void {
    this.#onStop?.();
    this.#world.askToSettle();
  }

  /** Runs `call` in a turn of this process, as a frontend's completion would. */
  inTurn(call: () => void): void {
    this.#soon(call);
  }

  openHandle(handle: OpenHandle): number {
    return this.#handles.open(handle);
  }

  handle(fd: number): Handle | undefined {
    return this.#handles.get(fd);
  }

  closeHandle(fd: number): boolean {
    return this.#handles.close(fd);
  }

  /**
   * The process is gone, as by SIGKILL. What it had handed to the kernel goes on; of what it was about to hand over a
   * prefix may have gone too. Its locks end when its last request on the drive has.
   */
  kill(): void {
    const reached = this.#world.prng.below(this.#waiting.length + 1);
    this.#waiting.length = reached;
    this.#startWaiting();
    this.#die();
    for (const operation of this.#ended) operation.completed = operation.disk.tick();
    for (const handle of this.#handles.all()) {
      handle.inFlight = 0;
      handle.onIdle = () => this.#machine.onClosed(handle);
    }
    for (const [operation, handle] of this.#running) {
      operation.orphan();
      handle.inFlight++;
    }
    for (const handle of this.#handles.all()) if (handle.inFlight === 0) handle.onIdle?.();
  }

  /** Power is gone. */
  powerOff(keep: () => boolean): void {
    this.#startWaiting();
    this.#die();
    for (const operation of this.#running.keys()) operation.powerOff(keep);
    this.#running.clear();
    for (const handle of this.#handles.all()) this.#machine.onClosed(handle);
  }

  #die(): void {
    this.#dead = true;
    this.#ready = [];
    this.#world.offSettled(this.#onSettled);
    for (const { happening } of this.#timers.values()) happening.cancelled = true;
  }

  /** Delivers `call` in the next turn. */
  #soon(call: () => void): void {
    if (this.#dead) return;
    this.#ready.push(call);
    this.#scheduleTurn();
  }

  #later(run: () => void): void {
    this.#world.schedule(1 + this.#world.prng.below(40), () => {
      if (!this.#dead) run();
    });
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled || this.#dead) return;
    this.#turnScheduled = true;
    // A little later than at once: completions that come together share a turn.
    this.#world.schedule(this.#world.prng.below(4), () => this.#turn());
  }

  #turn(): void {
    this.#turnScheduled = false;
    this.turnCount++;
    if (this.#dead) return;
    const batch = this.#ready;
    this.#ready = [];
    for (const call of batch) call();
    this.#endTurn();
  }

  #endTurn(): void {
    for (const hook of this.#hooks) hook();
    this.#startWaiting();
    if (this.#ready.length > 0) this.#scheduleTurn();
  }

  /** Code that ran between turns counts on the hooks too. */
  #afterRuntime(): void {
    if (!this.#dead) this.#endTurn();
  }

  #startWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { operation, handle, end } of waiting) {
      const { disk } = operation;
      const refusal = handle.kind === 'disk' ? operation.refusal(handle.direct) : 0;
      const effect = this.#machine.effect(operation);
      if (refusal !== 0) {
        this.#soon(() => end(refusal));
        continue;
      }
      this.#running.set(operation, handle);
      operation.start(this.#machine.latency, effect, (result) => {
        this.#running.delete(operation);
        if (this.#dead) {
          operation.completed = disk.tick();
          this.#handles.release(handle);
          return;
        }
        this.#ended.add(operation);
        this.#soon(() => end(result));
      });
    }
  }
}
