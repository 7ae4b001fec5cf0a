/**
 * A client of one volume: keeps requests in flight, tells the model of each, and checks what it reads. After the answer it
 * scribbles over the request's memory, which is its own again.
 */

import { BLOCK_BYTES, REQUEST_BYTES_MAX, type BlockTarget } from '../src/model/block-target.ts';
import { EIO, ENOSPC, EROFS } from '../src/model/errno.ts';
import type { Arena } from '../src/lib/arena.ts';
import type { DriveModel } from './drive-model.ts';
import type { ReplicaModel } from './replica-model.ts';
import { Change, type VolumeModel } from './model.ts';
import { SECTOR_BYTES } from './sim-disk.ts';
import type { SnapshotModel } from './snapshot-model.ts';
import { stamp } from './stamp.ts';
import { Violation, type World } from './world.ts';

const BLOCK_SECTORS = BLOCK_BYTES / SECTOR_BYTES;

export type Request =
  | { readonly kind: 'read'; readonly firstBlock: number; readonly blockCount: number }
  | {
      readonly kind: 'write';
      readonly offsetBytes: number;
      readonly lengthBytes: number;
      readonly fua: boolean;
    }
  | {
      readonly kind: 'zero';
      readonly offsetBytes: number;
      readonly lengthBytes: number;
      readonly fua: boolean;
      readonly allocate: boolean;
    }
  | {
      readonly kind: 'trim';
      readonly offsetBytes: number;
      readonly lengthBytes: number;
      readonly fua: boolean;
    }
  | { readonly kind: 'flush' };

type Flight = {
  readonly request: Request;
  readonly slot: number;
  readonly change: Change | undefined;
  /** The number of the first change called after this request. */
  readonly before: number;
  readonly covered: readonly Change[];
  /** Faults that had struck when it was called. */
  readonly strikes: number;
};

/** Which errors the store may answer now. */
export type Allowed = {
  readonly noSpace: boolean;
  /** Trims take space only over snapshots. */
  readonly noSpaceForTrim: boolean;
  readonly ioError: boolean;
};

export class Client {
  readonly #world: World;
  readonly #drive: DriveModel;
  readonly #model: VolumeModel;
  readonly #snapshot: SnapshotModel | undefined;
  readonly #replica: ReplicaModel | undefined;
  readonly #arena: Arena;
  readonly #slotBytes: number;
  readonly #freeSlots: number[] = [];
  readonly #flights = new Map<number, Flight>();
  readonly #allowed: () => Allowed;
  readonly #onIdle: () => void;
  #target: BlockTarget | undefined;
  #nextToken = 0;
  /** What happened before, for messages. */
  readonly #story: () => string;
  requestCount = 0;
  errorCount = 0;

  constructor(
    world: World,
    fields: {
      readonly drive: DriveModel;
      readonly model: VolumeModel;
      readonly snapshot?: SnapshotModel;
      readonly replica: ReplicaModel | undefined;
      readonly arena: Arena;
      readonly memory: {
        readonly address: number;
        readonly slotCount: number;
        readonly slotBytes: number;
      };
      readonly allowed: () => Allowed;
      /** A request ended. */
      readonly onIdle: () => void;
      readonly story: () => string;
    },
  ) {
    this.#world = world;
    this.#drive = fields.drive;
    this.#model = fields.model;
    this.#snapshot = fields.snapshot;
    this.#replica = fields.replica;
    this.#arena = fields.arena;
    this.#allowed = fields.allowed;
    this.#onIdle = fields.onIdle;
    this.#story = fields.story;
    const { address, slotCount, slotBytes } = fields.memory;
    this.#slotBytes = slotBytes;
    for (let slot = 0; slot < slotCount; slot++) this.#freeSlots.push(address + slot * slotBytes);
  }

  /** Bytes of a request's memory that takes requests of `requestBytes`: blocks on both ends included. */
  static slotBytes(requestBytes: number): number {
    return Math.ceil(requestBytes / BLOCK_BYTES) * BLOCK_BYTES + BLOCK_BYTES;
  }

  /** To be called with the target that answers to {@link onDone}. */
  attach(target: BlockTarget): void {
    this.#target = target;
  }

  get model(): VolumeModel {
    return this.#model;
  }

  get inFlight(): number {
    return this.#flights.size;
  }

  get canIssue(): boolean {
    return this.#freeSlots.length > 0 && this.#flights.size < (this.#target?.requestCountMax ?? 0);
  }

  /** Sends one request. Must be called inside a turn of the process. */
  issue(request: Request): void {
    const slot = this.#freeSlots.pop();
    const target = this.#target;
    if (slot === undefined || target === undefined) throw new Error('no slot is free');
    const token = this.#nextToken++ % 2 ** 20;
    this.#replica?.prepare(request);
    const flight: Flight = {
      request,
      slot,
      change: this.#prepare(request, slot),
      before: this.#drive.clock,
      covered: request.kind === 'flush' ? this.#model.flushing() : [],
      strikes: this.#drive.strikes,
    };
    this.#flights.set(token, flight);
    if (flight.change !== undefined) this.#replica?.submit(flight.change);
    this.requestCount++;
    if (this.#world.onTrace !== undefined) {
      this.#world.trace(
        `v${this.#model.id} #${flight.change?.number ?? ''} ${JSON.stringify(request)}`,
      );
    }
    switch (request.kind) {
      case 'read':
        target.read(token, request.firstBlock, request.blockCount, slot);
        return;
      case 'write': {
        const address = slot + (request.offsetBytes % BLOCK_BYTES);
        target.write(token, request.offsetBytes, request.lengthBytes, address, request.fua);
        return;
      }
      case 'zero':
        target.zero(token, request.offsetBytes, request.lengthBytes, request);
        return;
      case 'trim':
        target.trim(token, request.offsetBytes, request.lengthBytes, request.fua);
        return;
      case 'flush':
        target.flush(token);
    }
  }

  /** Tells the model of a change and fills its memory. */
  #prepare(request: Request, slot: number): Change | undefined {
    if (request.kind === 'read' || request.kind === 'flush') return undefined;
    if (request.kind === 'write') {
      if (request.lengthBytes > REQUEST_BYTES_MAX) throw new Error('requests have at most 256 KiB');
      this.#arena.u8.fill(0xee, slot, slot + this.#slotBytes);
    }
    const change = new Change(this.#drive.nextChange(), { zeros: request.kind !== 'write' });
    const whole = request.kind === 'trim' ? BLOCK_BYTES : 1;
    const from = Math.ceil(request.offsetBytes / whole) * whole;
    const to = Math.floor((request.offsetBytes + request.lengthBytes) / whole) * whole;
    if (to <= from) return change;
    const first = Math.floor(from / SECTOR_BYTES);
    const end = Math.ceil(to / SECTOR_BYTES);
    for (let sector = first; sector < end; sector++) {
      const start = Math.max(from, sector * SECTOR_BYTES);
      const stop = Math.min(to, (sector + 1) * SECTOR_BYTES);
      const address = slot + (start - Math.floor(request.offsetBytes / BLOCK_BYTES) * BLOCK_BYTES);
      if (stop - start < SECTOR_BYTES) this.#compose(change, { sector, start, stop, address });
      else if (!change.zeros) {
        stamp(this.#arena.u32, address >>> 2, {
          volume: this.#model.id,
          sector,
          write: change.number,
        });
      }
    }
    this.#model.submit(change, first, end - first);
    return change;
  }

  /** A part of a sector: its other bytes stay what they are, which {@link certain} must say. */
  #compose(
    change: Change,
    part: {
      readonly sector: number;
      readonly start: number;
      readonly stop: number;
      readonly address: number;
    },
  ): void {
    const old = this.#model.certain(part.sector);
    if (old === undefined) throw new Error('only a known sector is written in part');
    const content = old.slice();
    const at = part.start - part.sector * SECTOR_BYTES;
    const bytes = content.subarray(at, at + part.stop - part.start);
    if (change.zeros) bytes.fill(0);
    else {
      bytes.forEach((_, i) => (bytes[i] = (change.number * 31 + i * 7 + part.sector) & 0xff));
      this.#arena.u8.set(bytes, part.address);
    }
    change.composed.set(part.sector, content);
  }

  /** Whether a byte range begins and ends at sectors, or in sectors whose content is known. */
  mayTouch(offsetBytes: number, lengthBytes: number): boolean {
    const end = offsetBytes + lengthBytes;
    const known = (at: number): boolean =>
      at % SECTOR_BYTES === 0 || this.#model.certain(Math.floor(at / SECTOR_BYTES)) !== undefined;
    return known(offsetBytes) && known(end);
  }

  readonly onDone = (token: number, errno: number): void => {
    try {
      this.#answer(token, errno);
    } catch (error) {
      this.#world.violate(error);
    }
  };

  #answer(token: number, errno: number): void {
    const flight = this.#flights.get(token);
    if (flight === undefined) throw new Violation('answers', `request ${token} was answered twice`);
    this.#flights.delete(token);
    if (errno === 0) this.#onOk(flight);
    else this.#onError(flight, errno);
    this.#arena.u8.fill(0x5a, flight.slot, flight.slot + this.#slotBytes);
    this.#freeSlots.push(flight.slot);
    this.#onIdle();
  }

  #onOk(flight: Flight): void {
    const { request, change } = flight;
    if (request.kind === 'read') this.#verify(flight, request.firstBlock, request.blockCount);
    else if (request.kind === 'flush') this.#model.flushed(flight.covered);
    else if (change !== undefined) this.#model.acknowledge(change, { durable: request.fua });
  }

  #onError(flight: Flight, errno: number): void {
    const { request, change } = flight;
    this.errorCount++;
    if (this.#world.onTrace !== undefined) this.#world.trace(`v${this.#model.id} errno ${errno}`);
    if (change !== undefined) this.#model.fail(change);
    const allowed = this.#allowed();
    const takesSpace = request.kind === 'write' || request.kind === 'zero';
    const spaceAllowed = takesSpace
      ? allowed.noSpace
      : request.kind === 'trim' && allowed.noSpaceForTrim;
    if (errno === ENOSPC && spaceAllowed) return;
    if ((errno === EIO || errno === EROFS) && allowed.ioError) return;
    if (errno === EIO && this.#mayFail(flight)) return;
    throw new Violation(
      'errors',
      `volume ${this.#model.id}: ${JSON.stringify(request)} ended in errno ${errno}; ${this.#story()}`,
    );
  }

  /** A fault struck while the request was under way, or it reads what a failed write left unreadable. */
  #mayFail(flight: Flight): boolean {
    const { request } = flight;
    if (this.#drive.strikes > flight.strikes) return true;
    if (request.kind === 'flush') return false;
    if (request.kind === 'read') {
      const { firstBlock, blockCount } = request;
      if (this.#snapshot !== undefined)
        return this.#snapshot.mayBeUnreadable(firstBlock, blockCount);
      return this.#model.mayBeUnreadable(firstBlock, blockCount, flight.before);
    }
    // Of blocks that it writes in part the rest is read.
    const { offsetBytes, lengthBytes } = request;
    const at = flight.change?.number ?? flight.before;
    return [offsetBytes, offsetBytes + lengthBytes].some(
      (edge) =>
        edge % BLOCK_BYTES !== 0 &&
        this.#model.mayBeUnreadable(Math.floor(edge / BLOCK_BYTES), 1, at),
    );
  }

  #verify(flight: Flight, firstBlock: number, blockCount: number): void {
    const first = firstBlock * BLOCK_SECTORS;
    const after = this.#story();
    // A drive that stopped after an error serves from memory what it could not log; the next opening need not have it.
    const pin = !this.#allowed().ioError;
    for (let i = 0; i < blockCount * BLOCK_SECTORS; i++) {
      const at = (flight.slot + i * SECTOR_BYTES) >>> 2;
      if (this.#snapshot === undefined) {
        this.#model.check(first + i, this.#arena.u32, at, { before: flight.before, after, pin });
      } else this.#snapshot.check(first + i, this.#arena.u32, at, after);
    }
  }
}
