/**
 * What a drive must still know of a replica after a crash: the marks of its changes, the epochs of their extents, what it was given to
 * keep. And, of the whole drive, which life it is in.
 *
 * Rules:
 *  1. A change that must be there has its mark, until that was dropped. Other changes ever made may have one, extents never changed
 *     have none, unless marks are coarse.
 *  2. What a clean close left is what the next opening finds.
 *  3. An extent's epoch is not below that of a change that must be there, nor below what a stamp gave it that was kept.
 *  4. What was kept stays; while it is being kept, the older or the newer.
 *  5. A life ends with power unless the drive was closed, or when the drive stops after a failed call, and not with a kill or a close.
 */

import type { ReplicaVolume, SurveyedExtent } from '../src/store/replica-volume.ts';
import type { Request } from './client.ts';
import type { Change, VolumeModel } from './model.ts';
import { Violation } from './world.ts';

const BLOCK_BYTES = 4096;
const EXTENT_BLOCKS = 16;
const BLOCK_SECTORS = 8;

type Marked = {
  readonly change: Change;
  readonly extent: number;
  readonly mask: number;
  readonly epoch: number;
  readonly number: number;
};

/** Blocks of each extent that a request changes for certain, and those that it may change. */
type Reach = { readonly extent: number; readonly must: number; readonly may: number };

export class ReplicaModel {
  readonly #content: VolumeModel;
  /** Of changes made now. */
  epoch = 1;
  number = 0;
  #reach: readonly Reach[] = [];
  /** Of changes that are not dropped. */
  #marked: Marked[] = [];
  readonly #ever = new Map<number, number>();
  readonly #stamps = new Map<number, number>();
  #kept: Uint8Array = new Uint8Array();
  #keeping: Uint8Array | undefined;
  #closed: string | undefined;

  readonly #mayBeCoarse: boolean;

  constructor(content: VolumeModel, options: { readonly mayBeCoarse: boolean }) {
    this.#content = content;
    this.#mayBeCoarse = options.mayBeCoarse;
  }

  /** A change is about to be told to the content's model. */
  prepare(request: Request): void {
    this.#reach = request.kind === 'read' || request.kind === 'flush' ? [] : this.#reachOf(request);
  }

  /** The change that was prepared gets its number. */
  submit(change: Change): void {
    this.number++;
    const { epoch, number } = this;
    for (const { extent, must, may } of this.#reach) {
      this.#ever.set(extent, (this.#ever.get(extent) ?? 0) | may);
      if (must !== 0) this.#marked.push({ change, extent, mask: must, epoch, number });
    }
  }

  #reachOf(request: Exclude<Request, { kind: 'read' | 'flush' }>): Reach[] {
    const end = request.offsetBytes + request.lengthBytes;
    const isWrite = request.kind === 'write' || (request.kind === 'zero' && request.allocate);
    const found = new Map<number, { extent: number; must: number; may: number }>();
    for (
      let block = Math.floor(request.offsetBytes / BLOCK_BYTES);
      block * BLOCK_BYTES < end;
      block++
    ) {
      const extent = Math.floor(block / EXTENT_BLOCKS);
      const bit = 1 << (block % EXTENT_BLOCKS);
      const reach = found.get(extent) ?? { extent, must: 0, may: 0 };
      reach.may |= bit;
      const isWhole =
        request.offsetBytes <= block * BLOCK_BYTES && (block + 1) * BLOCK_BYTES <= end;
      // Of holes a trim changes nothing.
      if (isWrite || (isWhole && this.#hasData(block))) reach.must |= bit;
      found.set(extent, reach);
    }
    return [...found.values()];
  }

  /** Whether the block holds something for certain. */
  #hasData(block: number): boolean {
    const certain = this.#content.certain(block * BLOCK_SECTORS);
    return certain?.some((byte) => byte !== 0) === true;
  }

  /** The newest drop that a head could ask for: below every change under way. */
  get droppable(): { readonly epoch: number; readonly number: number } {
    const open = this.#marked.filter(({ change }) => change.state === 'in-flight');
    return {
      epoch: open.reduce((least, mark) => Math.min(least, mark.epoch), this.epoch),
      number: open.reduce((least, mark) => Math.min(least, mark.number), this.number + 1),
    };
  }

  dropped(epoch: number, number: number): void {
    this.#fold();
    this.#marked = this.#marked.filter((mark) => mark.epoch >= epoch && mark.number >= number);
  }

  /** Whether a change of an older epoch is under way. */
  get isSettling(): boolean {
    return this.#marked.some(
      ({ change, epoch }) => change.state === 'in-flight' && epoch < this.epoch,
    );
  }

  /** Extents that a stamp called now gives the epoch. */
  stamping(): readonly number[] {
    const certain = this.#marked.filter(({ change }) => change.state === 'acknowledged');
    return certain.map(({ extent }) => extent);
  }

  stamped(extents: readonly number[], epoch: number): void {
    for (const extent of extents) this.#raise(extent, epoch);
  }

  #raise(extent: number, epoch: number): void {
    this.#stamps.set(extent, Math.max(epoch, this.#stamps.get(extent) ?? 0));
  }

  keep(seen: Uint8Array): void {
    this.#keeping = seen;
  }

  kept(): void {
    this.#kept = this.#keeping ?? this.#kept;
    this.#keeping = undefined;
  }

  /** The drive is being closed: nothing is under way. */
  closing(replica: ReplicaVolume): void {
    this.#closed = JSON.stringify(replica.marks());
  }

  /** The drive is open again: what is uncertain now need not be there, what is there is durable. */
  opened(replica: ReplicaVolume, after: string): void {
    const marks = JSON.stringify(replica.marks());
    if (this.#closed !== undefined && this.#closed !== marks)
      throw this.#violation(`marks ${marks} instead of ${this.#closed} as closed; ${after}`);
    this.#closed = undefined;
    const seen = [this.#kept, this.#keeping].find(
      (kept) => kept !== undefined && isEqual(kept, replica.seen),
    );
    if (seen === undefined) throw this.#violation(`it lost what it kept; ${after}`);
    this.#kept = seen;
    this.#keeping = undefined;
    this.#marked = this.#marked.filter(({ change }) => change.state === 'acknowledged');
    this.#fold();
    this.check(replica, after);
    const stamps = new Map(this.#survey(replica).map((each) => [each.extent, each]));
    for (const [extent, epoch] of this.#stamps) {
      const found = stamps.get(extent);
      if (found !== undefined && found.stamp < epoch)
        throw this.#violation(
          `extent ${extent} is of epoch ${found.stamp}, not ${epoch}; ${after}`,
        );
    }
  }

  #survey(replica: ReplicaVolume): SurveyedExtent[] {
    return replica.survey(0, Math.ceil(replica.sizeBytes / BLOCK_BYTES / EXTENT_BLOCKS));
  }

  #fold(): void {
    for (const { change, extent, epoch } of this.#marked)
      if (change.flushed && change.state === 'acknowledged') this.#raise(extent, epoch);
  }

  /** Whether the marks are those that there may be. */
  check(replica: ReplicaVolume, after: string): void {
    const marks = new Map(replica.marks().map(({ extent, mask }) => [extent, mask]));
    for (const { change, extent, mask, number } of this.#marked) {
      if (
        change.state !== 'acknowledged' ||
        extent * EXTENT_BLOCKS * BLOCK_BYTES >= replica.sizeBytes
      )
        continue;
      if ((mask & ~(marks.get(extent) ?? 0)) !== 0)
        throw this.#violation(
          `extent ${extent} lacks the mark of change ${number}, blocks ${mask.toString(16)}; ${after}`,
        );
    }
    if (this.#mayBeCoarse) return;
    for (const [extent, mask] of marks) {
      if ((mask & ~(this.#ever.get(extent) ?? 0)) !== 0)
        throw this.#violation(
          `extent ${extent} has a mark ${mask.toString(16)} of no change; ${after}`,
        );
    }
  }

  #violation(detail: string): Violation {
    return new Violation('marks', `volume ${this.#content.id} (${this.#content.name}): ${detail}`);
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Which life a drive may be in. */
export class LifeModel {
  /** As it was last opened; 0: it had no replica yet. */
  #life = 0;
  #next: 'same' | 'raised' | 'either' = 'same';
  #isClosed = false;

  /** A replica was made. */
  begin(life: number): void {
    this.#life = life;
  }

  closed(): void {
    this.#isClosed = true;
  }

  /** The process died, or the machine: also while the drive was being opened. */
  ended(how: 'kill' | 'cut' | 'close'): void {
    if (how !== 'cut' || this.#next === 'raised') return;
    this.#next = this.#isClosed ? 'either' : 'raised';
  }

  /** The drive stopped after a failed write or flush, and its process lived to see it. */
  stopped(): void {
    this.#next = 'raised';
  }

  /** A call of the drive failed. */
  strike(): void {
    if (this.#next === 'same') this.#next = 'either';
  }

  opened(life: number, after: string): void {
    if (this.#life > 0) {
      const isRight =
        this.#next === 'same'
          ? life === this.#life
          : life > this.#life || (this.#next === 'either' && life === this.#life);
      if (!isRight)
        throw new Violation(
          'life',
          `life ${life} after ${this.#life}, to be ${this.#next}; ${after}`,
        );
    }
    this.#life = life;
    this.#next = 'same';
    this.#isClosed = false;
  }
}
