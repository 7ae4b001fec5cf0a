/**
 * One disk operation of a simulated process: when its bytes move between memory and drive, and when it ends.
 *
 * A write takes each of its parts out of memory at its own moment between start and end, a read fills its parts likewise, in any
 * order: whoever changes a buffer early, or believes one, is caught. A read scribbles over its buffer first.
 */

import { EINVAL } from '../src/model/errno.ts';
import type { FaultEffect } from './faults.ts';
import { SECTOR_BYTES, type CachedWrite, type SimDisk } from './sim-disk.ts';
import { Violation, type Happening, type World } from './world.ts';

export type OperationKind = 'read' | 'write' | 'flush';

/** How long operations take, in microseconds; drawn per seed. */
export type Latency = {
  readonly baseUs: number;
  readonly spreadUs: number;
  /** So many percent take up to `tailUs` longer. */
  readonly tailPercent: number;
  readonly tailUs: number;
  readonly flushUs: number;
};

export const LATENCY_CALM: Latency = {
  baseUs: 20,
  spreadUs: 60,
  tailPercent: 1,
  tailUs: 2000,
  flushUs: 200,
};

type Part = { readonly fromBytes: number; readonly toBytes: number; happening: Happening };

export class SimOperation implements CachedWrite {
  readonly kind: OperationKind;
  readonly disk: SimDisk;
  readonly positionBytes: number;
  readonly lengthBytes: number;
  /** (address, lengthBytes) pairs. */
  #segments: readonly number[];
  #memory: Uint8Array | undefined;
  completed: number = Infinity;
  /** For a flush: its place among the completions. */
  readonly called: number;
  readonly #world: World;
  readonly #parts = new Set<Part>();
  #end: Happening | undefined;
  #onEnd: ((result: number) => void) | undefined;
  #effect: FaultEffect | undefined;
  /** The bytes that it does: fewer than its length after a short one. */
  #doneBytes = 0;

  constructor(
    world: World,
    fields: {
      readonly kind: OperationKind;
      readonly disk: SimDisk;
      readonly positionBytes: number;
      readonly segments: readonly number[];
      readonly memory: Uint8Array;
    },
  ) {
    this.#world = world;
    this.kind = fields.kind;
    this.disk = fields.disk;
    this.positionBytes = fields.positionBytes;
    this.#segments = fields.segments;
    this.#memory = fields.memory;
    this.lengthBytes = fields.segments.reduce((sum, n, i) => sum + (i % 2 === 1 ? n : 0), 0);
    this.called = fields.disk.tick();
  }

  /** Why the kernel refuses it, as a negative errno; 0: it does not. */
  refusal(direct: boolean): number {
    if (this.kind === 'flush' || !direct) return 0;
    const { sectorBytes } = this.disk;
    const numbers = [this.positionBytes, ...this.#segments];
    return numbers.every((n) => n % sectorBytes === 0) ? 0 : -EINVAL;
  }

  start(latency: Latency, effect: FaultEffect | undefined, onEnd: (result: number) => void): void {
    const { prng } = this.#world;
    this.#effect = effect;
    this.#onEnd = onEnd;
    let durationUs = latency.baseUs + prng.below(latency.spreadUs + 1);
    if (this.kind === 'flush') durationUs += latency.flushUs;
    if (prng.chance(latency.tailPercent)) durationUs += prng.below(latency.tailUs + 1);
    if (effect?.kind === 'slow') durationUs += effect.delayUs;
    this.#doneBytes = this.#bytesToDo();
    const moves = effect?.kind !== 'error' && effect?.kind !== 'lost' && this.kind !== 'flush';
    if (this.kind === 'read') this.#scribble();
    if (moves && this.#doneBytes > 0) this.#drawParts(durationUs);
    this.#end = this.#world.schedule(durationUs, () => this.#finish());
  }

  #bytesToDo(): number {
    let bytes = this.lengthBytes;
    if (this.#effect?.kind === 'short' && bytes > this.disk.sectorBytes) {
      const sectors = bytes / this.disk.sectorBytes;
      bytes = (1 + this.#world.prng.below(Math.ceil(sectors) - 1)) * this.disk.sectorBytes;
    }
    const room = this.disk.sizeBytes - this.positionBytes;
    if (this.kind === 'read') return Math.max(0, Math.min(bytes, room));
    if (this.kind === 'write' && bytes > room) {
      throw new Violation(
        'bounds',
        `a write of ${bytes} bytes at ${this.positionBytes} ends behind the drive (${this.disk.sizeBytes})`,
      );
    }
    return bytes;
  }

  /** Cuts what is to be done into 1 to 4 parts at sector boundaries, each with its moment. */
  #drawParts(durationUs: number): void {
    const { prng } = this.#world;
    const sectors = Math.ceil(this.#doneBytes / SECTOR_BYTES);
    const cuts = new Set([0]);
    if (sectors > 1 && prng.chance(30)) {
      for (let i = prng.below(3); i >= 0; i--) cuts.add(prng.below(sectors));
    }
    const starts = [...cuts].toSorted((a, b) => a - b);
    starts.forEach((start, index) => {
      const fromBytes = start * SECTOR_BYTES;
      const toBytes = Math.min(this.#doneBytes, (starts[index + 1] ?? sectors) * SECTOR_BYTES);
      const run = (): void => this.#move(part);
      const atUs = prng.below(Math.max(1, Math.floor(durationUs)));
      const part: Part = { fromBytes, toBytes, happening: this.#world.schedule(atUs, run) };
      this.#parts.add(part);
    });
  }

  #move(part: Part): void {
    this.#parts.delete(part);
    const length = part.toBytes - part.fromBytes;
    const position = this.positionBytes + part.fromBytes;
    if (this.kind === 'read') {
      const bytes = new Uint8Array(length);
      this.disk.read(position, bytes);
      this.#copy(part.fromBytes, bytes, 'in');
      return;
    }
    const bytes = new Uint8Array(length);
    this.#copy(part.fromBytes, bytes, 'out');
    this.#write(position, bytes);
  }

  #write(position: number, bytes: Uint8Array): void {
    const effect = this.#effect;
    if (effect?.kind === 'misdirected') {
      const elsewhere = position + effect.byBytes;
      if (elsewhere >= 0 && elsewhere + bytes.length <= this.disk.sizeBytes) {
        this.disk.apply(this, elsewhere, bytes);
      }
      return;
    }
    this.disk.apply(this, position, bytes);
    if (effect?.kind !== 'repeated') return;
    const again: CachedWrite = { completed: Infinity };
    this.#world.schedule(effect.delayUs, () => {
      this.disk.apply(again, position, bytes);
      again.completed = this.disk.tick();
    });
  }

  #finish(): void {
    this.#end = undefined;
    const effect = this.#effect;
    if (this.kind === 'flush') {
      if (effect?.kind === 'error') this.disk.flushFailed(this.called);
      else if (effect?.kind !== 'lie') this.disk.flush(this.called);
    }
    const result = effect?.kind === 'error' ? -effect.errno : this.#doneBytes;
    this.#onEnd?.(this.kind === 'flush' && result > 0 ? 0 : result);
  }

  /** Its process is gone: what is still to be written is what memory holds now; nothing more is read into it. */
  orphan(): void {
    if (this.kind === 'write' && this.#memory !== undefined) {
      const copy = new Uint8Array(this.lengthBytes);
      this.#copy(0, copy, 'out');
      this.#memory = copy;
      this.#segments = [0, this.lengthBytes];
      return;
    }
    this.#memory = undefined;
  }

  /** Power is gone: each part that has not happened did, or did not. */
  powerOff(keep: () => boolean): void {
    if (this.#end !== undefined) this.#end.cancelled = true;
    for (const part of this.#parts) {
      part.happening.cancelled = true;
      if (this.kind === 'write' && keep()) this.#move(part);
    }
    this.#parts.clear();
  }

  /** Bytes moved or not, it is over. */
  get description(): string {
    return `${this.kind} ${this.positionBytes}+${this.lengthBytes}`;
  }

  #scribble(): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    for (let i = 0; i < this.#segments.length; i += 2) {
      const address = this.#segments[i] ?? 0;
      memory.fill(0xa5, address, address + (this.#segments[i + 1] ?? 0));
    }
  }

  /** Copies between `bytes` and the operation's memory from byte `from` of the operation on. */
  #copy(from: number, bytes: Uint8Array, direction: 'in' | 'out'): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    let skip = from;
    let done = 0;
    for (let i = 0; i < this.#segments.length && done < bytes.length; i += 2) {
      const length = this.#segments[i + 1] ?? 0;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const address = (this.#segments[i] ?? 0) + skip;
      const count = Math.min(length - skip, bytes.length - done);
      if (direction === 'in') memory.set(bytes.subarray(done, done + count), address);
      else bytes.set(memory.subarray(address, address + count), done);
      done += count;
      skip = 0;
    }
  }
}
