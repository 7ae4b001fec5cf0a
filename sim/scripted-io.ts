/** An Io whose operations a unit test ends by hand, in any order; a write's bytes reach its small disk when it ends. */

import assert from 'node:assert/strict';

import { Arena } from '../src/lib/arena.ts';
import { checksumOf } from '../src/lib/checksum.ts';
import type { Io, OnCompletion, Port } from '../src/env/io.ts';
import { Geometry, type Layout } from '../src/store/geometry.ts';
import { newCounters, type Media } from '../src/store/media.ts';

export type ScriptedOperation = {
  readonly kind: 'read' | 'write' | 'writev';
  readonly positionBytes: number;
  /** Pairs (address, length) in the arena. */
  readonly segments: readonly (readonly [address: number, lengthBytes: number])[];
  readonly lengthBytes: number;
  /** Ends it: done whole, or with the result given (so many bytes, or a negative errno). */
  readonly end: (result?: number) => void;
};

export class ScriptedIo {
  /** Under way, oldest first. */
  readonly pending: ScriptedOperation[] = [];
  readonly disk: Uint8Array;
  readonly arena: Arena;
  readonly media: Media;
  readonly #ports: OnCompletion[] = [];

  constructor(layout: Layout, memoryPages: number) {
    const memory = new WebAssembly.Memory({ initial: memoryPages, maximum: memoryPages });
    this.arena = new Arena(memory);
    this.disk = new Uint8Array(layout.sizeBytes);
    const { arena } = this;
    const media: Media = {
      io: this.#io(memory),
      fd: 3,
      arena,
      words: arena.u32,
      bytes: arena.u8,
      checksum: checksumOf(memory),
      geometry: new Geometry(layout),
      uuid32: 0x1234abcd,
      counters: newCounters(),
      onBad: () => undefined,
      activity: 0,
      fault: undefined,
      stop: (reason) => {
        media.fault ??= reason;
      },
    };
    this.media = media;
  }

  /** Ends the oldest operation, and what it leads to, until nothing is under way. */
  endAll(): void {
    while (this.pending.length > 0) this.pending[0]?.end();
  }

  #io(memory: WebAssembly.Memory): Io {
    const unexpected = (): never => assert.fail('the store does this only as a whole');
    return {
      kind: 'sim',
      memory,
      // A port is its place in the list.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      port: (onCompletion) => (this.#ports.push(onCompletion) - 1) as Port,
      read: (port, index, _, at, address, length) =>
        this.#start({ kind: 'read', port, index, at, segments: [[address, length]] }),
      write: (port, index, _, at, address, length) =>
        this.#start({ kind: 'write', port, index, at, segments: [[address, length]] }),
      writev: (port, index, _, at, segments, first, count) =>
        this.#start({
          kind: 'writev',
          port,
          index,
          at,
          segments: Array.from({ length: count }, (__, place) => {
            const from = 2 * (first + place);
            return [segments[from] ?? 0, segments[from + 1] ?? 0] as const;
          }),
        }),
      submit: () => undefined,
      yieldTurn: () => undefined,
      onTurnEnd: () => undefined,
      flush: unexpected,
      accept: unexpected,
      connect: unexpected,
      receive: unexpected,
      send: unexpected,
      trySend: unexpected,
      timer: unexpected,
      cancelTimer: unexpected,
      close: unexpected,
      backlog: unexpected,
      nowUs: unexpected,
      turnCount: 0,
      run: unexpected,
      stop: unexpected,
    };
  }

  #start(started: {
    readonly kind: ScriptedOperation['kind'];
    readonly port: Port;
    readonly index: number;
    readonly at: number;
    readonly segments: ScriptedOperation['segments'];
  }): void {
    const { kind, port, index, at, segments } = started;
    const lengthBytes = segments.reduce((sum, [, length]) => sum + length, 0);
    assert.ok(at >= 0 && at + lengthBytes <= this.disk.length, 'an operation stays on the disk');
    const operation: ScriptedOperation = {
      kind,
      positionBytes: at,
      segments,
      lengthBytes,
      end: (result = lengthBytes) => {
        const place = this.pending.indexOf(operation);
        assert.ok(place >= 0, 'an operation ends once');
        this.pending.splice(place, 1);
        this.#move(operation, result);
        this.#ports[port]?.(index, result);
      },
    };
    this.pending.push(operation);
  }

  #move(operation: ScriptedOperation, result: number): void {
    let done = 0;
    for (const [address, lengthBytes] of operation.segments) {
      const length = Math.max(0, Math.min(lengthBytes, result - done));
      const from = operation.positionBytes + done;
      if (operation.kind === 'read') {
        this.arena.u8.set(this.disk.subarray(from, from + length), address);
      } else this.disk.set(this.arena.u8.subarray(address, address + length), from);
      done += length;
    }
  }
}
