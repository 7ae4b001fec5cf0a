/**
 * Stands between a program and its env.io, for rigs that must see or delay what reaches the disk. It is loaded by
 * `node --import` (load.mjs) and changes the two makers of the real machine in place; the product knows nothing of it.
 */

import { NodeIo } from '../../src/env/node/node-io.ts';
import type { Io, OnCompletion, Port } from '../../src/env/io.ts';
import { UringIo } from '../../src/env/uring/uring-io.ts';

export type DiskCall =
  | {
      readonly kind: 'write';
      readonly fd: number;
      readonly positionBytes: number;
      readonly bytes: Buffer;
    }
  | { readonly kind: 'flush'; readonly fd: number };

export type Interposer = {
  /** Called before the call goes to the kernel; `call.bytes` is a view that is valid now only. Returns a token. */
  submitted(call: DiskCall): number;
  /** Called at the completion. It calls `deliver` once, now or after a timer of `io`, with another result if it likes. */
  completed(
    ended: { readonly token: number; readonly kind: DiskCall['kind']; readonly result: number },
    deliver: Deliver,
    io: DelayIo,
  ): void;
};

/** Ends a call. */
export type Deliver = (result?: number) => void;

/** What an interposer may do to wait. */
export type DelayIo = { readonly after: (delayMs: number, then: () => void) => void };

type Slot = {
  readonly port: Port;
  readonly index: number;
  readonly token: number;
  readonly kind: DiskCall['kind'];
};
type Patched = {
  readonly callbacks: Map<Port, OnCompletion>;
  readonly slots: Map<number, Slot>;
  readonly timers: Map<number, () => void>;
  readonly diskPort: Port;
  readonly timerPort: Port;
  next: number;
};

/** Puts `interposer` between every Io that this process will make and its disk. */
export function interposeIo(interposer: Interposer): void {
  for (const prototype of [UringIo.prototype, NodeIo.prototype]) patch(prototype, interposer);
}

function patch(prototype: Io, interposer: Interposer): void {
  // The originals are called with their own `this`, so they are taken apart here on purpose.
  // oxlint-disable-next-line typescript/unbound-method
  const { port: openPort, write, writev, flush, timer } = prototype;
  const states = new WeakMap<Io, Patched>();

  const stateOf = (io: Io): Patched => {
    const known = states.get(io);
    if (known !== undefined) return known;
    const slots = new Map<number, Slot>();
    const timers = new Map<number, () => void>();
    const callbacks = new Map<Port, OnCompletion>();
    const timerPort = openPort.call(io, (index) => {
      const then = timers.get(index);
      timers.delete(index);
      then?.();
    });
    const after = (delayMs: number, then: () => void): void => {
      const index = takeIndex(state);
      timers.set(index, then);
      timer.call(io, timerPort, index, delayMs);
    };
    const diskPort = openPort.call(io, (at, result) => {
      const slot = slots.get(at);
      if (slot === undefined) throw new Error('A completion of nothing');
      slots.delete(at);
      const deliver: Deliver = (told = result) => callbacks.get(slot.port)?.(slot.index, told);
      interposer.completed({ token: slot.token, kind: slot.kind, result }, deliver, { after });
    });
    const state: Patched = { callbacks, slots, timers, diskPort, timerPort, next: 0 };
    states.set(io, state);
    return state;
  };
  const submit = (io: Io, port: Port, index: number, call: DiskCall): [Port, number] => {
    const state = stateOf(io);
    const at = takeIndex(state);
    state.slots.set(at, { port, index, token: interposer.submitted(call), kind: call.kind });
    return [state.diskPort, at];
  };

  prototype.port = function (onCompletion) {
    const state = stateOf(this);
    const port = openPort.call(this, onCompletion);
    state.callbacks.set(port, onCompletion);
    return port;
  };
  prototype.write = function (port, index, fd, positionBytes, address, lengthBytes) {
    const bytes = Buffer.from(this.memory.buffer, address, lengthBytes);
    const [own, at] = submit(this, port, index, { kind: 'write', fd, positionBytes, bytes });
    write.call(this, own, at, fd, positionBytes, address, lengthBytes);
  };
  prototype.writev = function (port, index, fd, positionBytes, segments, first, count) {
    const parts = Array.from({ length: count }, (_, each) => {
      const at = 2 * (first + each);
      return Buffer.from(this.memory.buffer, segments[at] ?? 0, segments[at + 1] ?? 0);
    });
    const bytes = Buffer.concat(parts);
    const [own, at] = submit(this, port, index, { kind: 'write', fd, positionBytes, bytes });
    writev.call(this, own, at, fd, positionBytes, segments, first, count);
  };
  prototype.flush = function (port, index, fd) {
    const [own, at] = submit(this, port, index, { kind: 'flush', fd });
    flush.call(this, own, at, fd);
  };
}

/** Indexes have 24 bits, and never as many are in flight. */
function takeIndex(state: Patched): number {
  state.next = (state.next + 1) % 2 ** 24;
  return state.next;
}
