/**
 * A client of the volume: requests at random, each checked when it is answered. It dies with its machine, not with the engine. When
 * another session serves it becomes a ghost: it goes on asking the head beside it, and may be told of nothing but what was there before.
 */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import { ESHUTDOWN } from '../../src/model/errno.ts';
import { isChange } from '../../src/replication/messages.ts';
import { Violation, type World } from '../world.ts';
import type { Expectations } from './expectations.ts';
import type { SimEngine } from './sim-engine.ts';
import { type Drawn, drawRequest } from './requests.ts';
import type { SimMemory } from './sim-memory.ts';

/** More than a request has blocks. */
const VALUES_PER_REQUEST = 100;
/** What a ghost has under way at most, and how often it asks. */
const GHOST_DEPTH = 40;
const GHOST_US = 20_000;
/** What a ghost writes is never over, and in the way of its reads. */
const GHOST_READ_PERCENT = 80;

export type ClientRequest = {
  readonly id: number;
  readonly kind: Drawn['kind'];
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly address: number;
  readonly fua: boolean;
  readonly flushIssuedAt: number;
};

export type SimClientOptions = {
  readonly world: World;
  readonly memory: SimMemory;
  readonly expectations: Expectations;
  /** As the client knows it. */
  sizeBlocks(): number;
  readonly depth: number;
  /** Between an answer and the next request. */
  readonly thinkUs: number;
  /** Names a request, for all clients of the volume. */
  nextId(): number;
  /** Takes one from the requests that are left; undefined: there is none now. */
  take(): Drawn | undefined;
};

export class SimClient {
  readonly #options: SimClientOptions;
  readonly #underWay = new Map<number, ClientRequest>();
  #engine: SimEngine | undefined;
  #isResting = false;
  /** Of a ghost: the size that it knows. */
  #ghostBlocks: number | undefined;
  /** Of a ghost: requests of which it may still be told. */
  readonly #there = new Set<ClientRequest>();
  isOver = false;
  /** A request was not answered before its head ended, though nothing was asked after it. */
  isShutOut = false;

  constructor(options: SimClientOptions) {
    this.#options = options;
  }

  get requests(): Iterable<ClientRequest> {
    return this.#underWay.values();
  }

  get size(): number {
    return this.#underWay.size;
  }

  /** The engine beside it has a head again: what was not answered is asked again, in its order. */
  connect(engine: SimEngine): void {
    this.#engine = engine;
    this.#isResting = false;
    this.isShutOut = false;
    for (const request of this.#underWay.values()) this.#send(request);
    this.fill();
  }

  /** Asks for more, up to its depth. */
  fill(): void {
    while (
      this.#engine !== undefined &&
      !this.isOver &&
      !this.#isGhost &&
      !this.#isResting &&
      this.#underWay.size < this.#options.depth
    ) {
      const drawn = this.#options.take();
      if (drawn === undefined) return;
      this.#issue(drawn);
    }
  }

  /** Asks for no more. */
  rest(): void {
    this.#isResting = true;
  }

  get #isGhost(): boolean {
    return this.#ghostBlocks !== undefined;
  }

  /** Its engine was killed. */
  disconnect(): void {
    this.#engine = undefined;
  }

  /** Another session serves. `isThere`: a request under way took effect before that, so that its answer is true. */
  haunt(isThere: (request: ClientRequest) => boolean): void {
    this.#ghostBlocks = this.#options.sizeBlocks();
    for (const request of this.#underWay.values()) {
      if (isThere(request)) this.#there.add(request);
    }
    this.#giveUp();
    this.#haunt();
  }

  /** Nobody listens to answers any more. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#engine = undefined;
    if (!this.#isGhost) this.#giveUp();
    this.#underWay.clear();
  }

  /** All that it and its session expect. */
  fingerprint(): string {
    const underWay = [...this.#underWay.values()];
    const flushes = underWay.filter(({ kind }) => kind === 'flush');
    const expected = this.#options.expectations.fingerprint(
      flushes.map(({ flushIssuedAt }) => flushIssuedAt),
    );
    return `${underWay.map(({ id }) => id).join()} ${this.#isResting} ${expected}`;
  }

  find(token: number): ClientRequest | undefined {
    return this.#underWay.get(token);
  }

  onDone(request: ClientRequest, errno: number): void {
    const { expectations, memory, world } = this.#options;
    if (world.onTrace !== undefined) world.trace(`answer ${request.id}: ${errno}`);
    this.#underWay.delete(request.id);
    this.isShutOut ||= this.#isResting && errno === ESHUTDOWN;
    if (this.#isGhost) {
      if (errno !== 0 || this.#there.has(request)) return;
      throw new Violation(
        'one head',
        `${request.kind} ${request.id} is answered, and another session serves without it`,
      );
    }
    for (const [index, block] of [...blocksOf(request)].entries()) {
      if (request.kind === 'read') {
        if (errno === 0) {
          expectations.read(block, memory.get(request.address + index * BLOCK_BYTES));
        }
      } else if (errno === 0) expectations.acknowledged(block, request.id);
      else expectations.unresolved(block, request.id);
    }
    if (request.kind === 'flush' && errno === 0) expectations.flushed(request.flushIssuedAt);
    memory.free(request.address, request.blockCount);
    world.schedule(this.#options.thinkUs, () => this.fill());
  }

  #issue({ kind, firstBlock, count, fua }: Drawn): void {
    const { world, memory, expectations } = this.#options;
    const isFlush = kind === 'flush';
    const request: ClientRequest = {
      id: this.#options.nextId(),
      kind,
      firstBlock: isFlush ? 0 : firstBlock,
      blockCount: count,
      address: isFlush ? 0 : memory.allocate(count),
      fua,
      flushIssuedAt: isFlush ? expectations.flushIssued() : 0,
    };
    for (const [index, block] of [...blocksOf(request)].entries()) {
      if (!isChange(request.kind)) continue;
      // Of the block at `index`: for people, a value names its request.
      const value = kind === 'write' ? request.id * VALUES_PER_REQUEST + index + 1 : 0;
      memory.set(request.address + index * BLOCK_BYTES, value);
      if (!this.#isGhost) expectations.issued(block, request.id, value);
    }
    this.#underWay.set(request.id, request);
    if (world.onTrace !== undefined) {
      world.trace(
        `${this.#isGhost ? 'ghost' : 'client'} asks ${kind} ${request.id} of ${firstBlock} to ${firstBlock + count}`,
      );
    }
    this.#send(request);
  }

  #send(request: ClientRequest): void {
    const range = {
      offsetBytes: request.firstBlock * BLOCK_BYTES,
      lengthBytes: request.blockCount * BLOCK_BYTES,
      address: request.address,
    };
    const { id, kind, fua } = request;
    this.#engine?.ask(id, ({ path }) => {
      if (kind === 'flush') path.flush(id);
      else if (kind === 'read') path.read(id, range);
      else path.change(id, { kind, ...range, fua });
    });
  }

  /** Nobody here will be told what became of it. */
  #giveUp(): void {
    for (const request of this.#underWay.values()) {
      for (const block of blocksOf(request)) {
        if (isChange(request.kind)) this.#options.expectations.unresolved(block, request.id);
      }
    }
  }

  #haunt(): void {
    const { world } = this.#options;
    world.schedule(world.prng.below(GHOST_US), () => {
      if (this.isOver) return;
      const sizeBlocks = this.#ghostBlocks!;
      const mix = { sizeBlocks, hotPercent: 30, flushPercent: 10, readPercent: GHOST_READ_PERCENT };
      if (this.#underWay.size < GHOST_DEPTH) this.#issue(drawRequest(world.prng, mix));
      this.#haunt();
    });
  }
}

export function* blocksOf(request: ClientRequest): Generator<number> {
  for (let index = 0; index < request.blockCount; index++) yield request.firstBlock + index;
}
