/**
 * Slots: the fixed memory of the NBD frontend. A slot is a request or a piece of one; its number is the token that the
 * target gets. Data slots have block-aligned memory with room before it for a reply header, so that header and data are one segment.
 *
 *     data slot    | head: 4096, of which the last 128 are used | data: whole blocks |
 *     header slot  | 128 bytes |
 *
 * Sharing: a connection may take a slot of a class only while it holds fewer of that class than are free (dynamic thresholds,
 * Choudhury and Hahne 1998). One greedy client gets at most half, n of them 1 / (n + 1) each, and as much stays free. Where even that
 * is nothing, each connection has one header slot and one small data slot of its own, with which any request gets done in small pieces.
 *
 * A slot that is given back while a replica that was given up still uses its memory is free only after that: a drive that hangs holds no
 * more than the slots of what it was asked.
 */

import { assert } from '../../lib/assert.ts';
import type { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES, REQUEST_BYTES_MAX } from '../../model/block-target.ts';
import type { MemoryUses } from '../memory-uses.ts';

export const NONE = -1;

/** Room before data: the largest reply header is 28 bytes, the largest reply without data 108. */
const HEAD_BYTES = 128;

type SlotClass = { readonly dataBytes: number; readonly count: number };

/** Data of the small class: two blocks at any alignment. */
export const SMALL_DATA_BYTES: number = 3 * BLOCK_BYTES;
const HEADER = 0;
const SMALL = 1;
/**
 * Pools. Small: depth 256 for one client, 512 in all. Medium: 64 KiB at any alignment. Large: a whole piece at any alignment, depth 16 for
 * one client. 8 + 7 + 8 MiB of memory, touched as far as it is used at once (free lists are stacks).
 */
const CLASSES: readonly SlotClass[] = [
  { dataBytes: 0, count: 1024 },
  { dataBytes: SMALL_DATA_BYTES, count: 512 },
  { dataBytes: 65_536 + BLOCK_BYTES, count: 96 },
  { dataBytes: REQUEST_BYTES_MAX + BLOCK_BYTES, count: 32 },
];
const CLASS_COUNT: number = CLASSES.length;
const POOLED_COUNT: number = CLASSES.reduce((sum, { count }) => sum + count, 0);

function strideOf({ dataBytes }: SlotClass): number {
  return dataBytes === 0 ? HEAD_BYTES : BLOCK_BYTES + dataBytes;
}

/** What a pool for this many connections takes from the arena, alignment included. */
export function slotPoolBytes(connectionCountMax: number): number {
  const own = strideOf(CLASSES[HEADER]!) + strideOf(CLASSES[SMALL]!);
  const pooled = CLASSES.reduce((sum, shape) => sum + shape.count * strideOf(shape), 0);
  return pooled + connectionCountMax * own + 2 * (CLASS_COUNT + 1) * BLOCK_BYTES;
}

/** The slots of one frontend: parallel arrays, and a list of those that are free. */
export class SlotPool {
  /** Slots there are: tokens are below it. */
  readonly count: number;

  // By slot. Fixed:
  readonly dataBytes: Uint32Array;
  readonly #class: Uint8Array;

  // Fixed but for `renew`:
  /** First byte of the data; 0 for header slots. */
  readonly dataAddress: Uint32Array;
  /** Where a reply without data is formatted: 128 bytes. */
  readonly headAddress: Uint32Array;

  // The request or piece in it, set by its user:
  readonly connection: Uint16Array;
  readonly kind: Uint8Array;
  readonly flags: Uint8Array;
  readonly cookieHigh: Uint32Array;
  readonly cookieLow: Uint32Array;
  readonly offsetBytes: Float64Array;
  readonly lengthBytes: Uint32Array;
  /** Of what is with the target or waits for it: when it came, in the Io's time. */
  readonly startUs: Float64Array;
  /** Of a piece: the slot of its request. */
  readonly parent: Int32Array;
  /** Of a request in pieces: pieces under way, and the first error. */
  readonly outstanding: Uint32Array;
  readonly errno: Int32Array;
  /** Of a reply to be sent. */
  readonly sendAddress: Uint32Array;
  readonly sendBytes: Uint32Array;
  /** The next slot in the one queue, or the free list, that this slot is in. */
  readonly next: Int32Array;
  /** The next piece of a reply that is sent in order. */
  readonly laneNext: Int32Array;

  readonly #freeHead: Int32Array = new Int32Array(CLASS_COUNT).fill(NONE);
  readonly #freeCount: Int32Array = new Int32Array(CLASS_COUNT);
  /** By connection and class. */
  readonly #held: Uint16Array;
  /** By connection, its own slots included. */
  readonly #heldInAll: Uint16Array;
  readonly #heldData: Uint16Array;
  /** By own slot, counted from POOLED_COUNT. */
  readonly #ownTaken: Uint8Array;
  readonly #memory: MemoryUses;
  /** A slot came free some time after it was given back. */
  onFree: (() => void) | undefined;

  constructor(arena: Arena, connectionCountMax: number, memory: MemoryUses) {
    this.#memory = memory;
    this.count = POOLED_COUNT + 2 * connectionCountMax;
    const { count } = this;
    this.dataAddress = new Uint32Array(count);
    this.dataBytes = new Uint32Array(count);
    this.headAddress = new Uint32Array(count);
    this.#class = new Uint8Array(count);
    this.connection = new Uint16Array(count);
    this.kind = new Uint8Array(count);
    this.flags = new Uint8Array(count);
    this.cookieHigh = new Uint32Array(count);
    this.cookieLow = new Uint32Array(count);
    this.offsetBytes = new Float64Array(count);
    this.lengthBytes = new Uint32Array(count);
    this.startUs = new Float64Array(count);
    this.parent = new Int32Array(count).fill(NONE);
    this.outstanding = new Uint32Array(count);
    this.errno = new Int32Array(count);
    this.sendAddress = new Uint32Array(count);
    this.sendBytes = new Uint32Array(count);
    this.next = new Int32Array(count).fill(NONE);
    this.laneNext = new Int32Array(count).fill(NONE);
    this.#held = new Uint16Array(connectionCountMax * CLASS_COUNT);
    this.#heldInAll = new Uint16Array(connectionCountMax);
    this.#heldData = new Uint16Array(connectionCountMax);
    this.#ownTaken = new Uint8Array(2 * connectionCountMax);
    this.#layOut(arena, connectionCountMax);
  }

  #layOut(arena: Arena, connectionCountMax: number): void {
    let first = 0;
    for (const [index, shape] of CLASSES.entries()) {
      this.#reserve(arena, { class: index, first, count: shape.count, step: 1 });
      for (let slot = first + shape.count - 1; slot >= first; slot -= 1) this.#push(slot);
      first += shape.count;
    }
    const own = { count: connectionCountMax, step: 2 };
    this.#reserve(arena, { ...own, class: HEADER, first: POOLED_COUNT });
    this.#reserve(arena, { ...own, class: SMALL, first: POOLED_COUNT + 1 });
  }

  #reserve(
    arena: Arena,
    group: {
      readonly class: number;
      readonly first: number;
      readonly count: number;
      readonly step: number;
    },
  ): void {
    const shape = CLASSES[group.class]!;
    const stride = strideOf(shape);
    const base = arena.reserve(group.count * stride, BLOCK_BYTES);
    for (let index = 0; index < group.count; index += 1) {
      const slot = group.first + index * group.step;
      const start = base + index * stride;
      this.#class[slot] = group.class;
      this.dataBytes[slot] = shape.dataBytes;
      this.dataAddress[slot] = shape.dataBytes === 0 ? 0 : start + BLOCK_BYTES;
      this.headAddress[slot] = shape.dataBytes === 0 ? start : start + BLOCK_BYTES - HEAD_BYTES;
      if (shape.dataBytes > 0) this.#memory.addPiece(start + BLOCK_BYTES, shape.dataBytes);
    }
  }

  /** Slots that the connection holds. */
  heldBy(connection: number): number {
    return this.#heldInAll[connection]!;
  }

  /** A slot for a request without data, or NONE: wait until the connection gives one back. */
  takeHeader(connection: number): number {
    const slot = this.#takePooled(connection, HEADER);
    return slot === NONE ? this.#takeOwn(connection, HEADER) : slot;
  }

  /**
   * A slot with room for `dataBytes`; a smaller one of the connection's own if it holds no data slot at all and the pools are
   * exhausted; or NONE: wait until one is given back.
   */
  takeData(connection: number, dataBytes: number): number {
    for (let index = SMALL; index < CLASS_COUNT; index += 1) {
      if (CLASSES[index]!.dataBytes < dataBytes) continue;
      const slot = this.#takePooled(connection, index);
      if (slot !== NONE) return slot;
    }
    return this.#heldData[connection] === 0 ? this.#takeOwn(connection, SMALL) : NONE;
  }

  /** The connection's own small slot, or NONE if it is in use. */
  takeOwnData(connection: number): number {
    return this.#takeOwn(connection, SMALL);
  }

  /**
   * Gives a slot back. Nothing may refer to it any more: not the target, not an operation of env.io, no queue. Replicas that were given up
   * may: it is free after them.
   */
  release(slot: number): void {
    const connection = this.connection[slot]!;
    const index = this.#class[slot]!;
    this.#heldInAll[connection] = this.#heldInAll[connection]! - 1;
    if (index !== HEADER) this.#heldData[connection] = this.#heldData[connection]! - 1;
    if (slot < POOLED_COUNT) {
      const held = connection * CLASS_COUNT + index;
      assert(this.#held[held]! > 0, 'a slot is given back by who took it');
      this.#held[held] = this.#held[held]! - 1;
    }
    this.#free(slot);
  }

  /**
   * Other memory of the same size for a read, where a replica that was given up may still write to its own. Returns its address; 0: there
   * is none now.
   */
  renew(slot: number): number {
    const index = this.#class[slot]!;
    const spare = this.#freeHead[index]!;
    if (spare === NONE) return 0;
    this.#pop(index);
    for (const addresses of [this.dataAddress, this.headAddress]) {
      [addresses[slot], addresses[spare]] = [addresses[spare]!, addresses[slot]!];
    }
    this.#free(spare);
    return this.dataAddress[slot]!;
  }

  #free(slot: number): void {
    const address = this.dataAddress[slot]!;
    if (!this.#memory.isUsed(address)) {
      this.#push(slot);
      return;
    }
    this.#memory.whenFree(address, () => {
      this.#push(slot);
      this.onFree?.();
    });
  }

  #takePooled(connection: number, index: number): number {
    const held = connection * CLASS_COUNT + index;
    if (this.#freeCount[index]! <= this.#held[held]!) return NONE;
    const slot = this.#pop(index);
    this.#held[held] = this.#held[held]! + 1;
    return this.#taken(connection, slot, index);
  }

  #takeOwn(connection: number, index: number): number {
    const own = 2 * connection + index;
    if (this.#ownTaken[own] === 1) return NONE;
    this.#ownTaken[own] = 1;
    return this.#taken(connection, POOLED_COUNT + own, index);
  }

  #taken(connection: number, slot: number, index: number): number {
    this.#heldInAll[connection] = this.#heldInAll[connection]! + 1;
    if (index !== HEADER) this.#heldData[connection] = this.#heldData[connection]! + 1;
    this.connection[slot] = connection;
    this.parent[slot] = NONE;
    this.next[slot] = NONE;
    this.errno[slot] = 0;
    this.outstanding[slot] = 0;
    return slot;
  }

  #pop(index: number): number {
    const slot = this.#freeHead[index]!;
    this.#freeHead[index] = this.next[slot]!;
    this.#freeCount[index] = this.#freeCount[index]! - 1;
    return slot;
  }

  #push(slot: number): void {
    if (slot >= POOLED_COUNT) {
      assert(this.#ownTaken[slot - POOLED_COUNT] === 1, 'a slot is given back once');
      this.#ownTaken[slot - POOLED_COUNT] = 0;
      return;
    }
    const index = this.#class[slot]!;
    this.next[slot] = this.#freeHead[index]!;
    this.#freeHead[index] = slot;
    this.#freeCount[index] = this.#freeCount[index]! + 1;
  }
}
