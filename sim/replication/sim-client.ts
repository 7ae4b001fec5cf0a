/** A client of the volume: requests at random, each checked when it is answered. It dies with its machine, not with the engine. */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import type { Head } from '../../src/replication/head.ts';
import { isChange } from '../../src/replication/messages.ts';
import type { World } from '../world.ts';
import type { Expectations } from './expectations.ts';
import type { SimMemory } from './sim-memory.ts';

type Kind = 'write' | 'zero' | 'trim' | 'read' | 'flush';

export type ClientRequest = {
  readonly id: number;
  readonly kind: Kind;
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
  /** Percent of writes to a few blocks that all meet on. */
  readonly hotPercent: number;
  /** Names a request, for all clients of the volume. */
  nextId(): number;
  /** Takes one from the requests that are left; false: there are none. */
  takeTurn(): boolean;
};

export class SimClient {
  readonly #options: SimClientOptions;
  readonly #underWay = new Map<number, ClientRequest>();
  #head: Head | undefined;
  #isResting = false;
  isOver = false;

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
  connect(head: Head): void {
    this.#head = head;
    this.#isResting = false;
    for (const request of this.#underWay.values()) this.#send(request);
    this.fill();
  }

  /** Asks for more, up to its depth. */
  fill(): void {
    while (
      this.#head !== undefined &&
      !this.isOver &&
      !this.#isResting &&
      this.#underWay.size < this.#options.depth
    ) {
      if (!this.#options.takeTurn()) return;
      this.#issue();
    }
  }

  /** Asks for no more. */
  rest(): void {
    this.#isResting = true;
  }

  /** Its engine was killed. */
  disconnect(): void {
    this.#head = undefined;
  }

  /** Nobody listens to answers any more. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#head = undefined;
    for (const request of this.#underWay.values()) {
      for (const block of blocksOf(request)) {
        if (isChange(request.kind)) this.#options.expectations.unresolved(block, request.id);
      }
    }
    this.#underWay.clear();
  }

  find(token: number): ClientRequest | undefined {
    return this.#underWay.get(token);
  }

  onDone(request: ClientRequest, errno: number): void {
    const { expectations, memory, world } = this.#options;
    if (world.onTrace !== undefined) world.trace(`answer ${request.id}: ${errno}`);
    this.#underWay.delete(request.id);
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
    // The answer is under way to the client: its next request comes a little later.
    this.#options.world.schedule(5, () => this.fill());
  }

  #issue(): void {
    const { world, memory, expectations, hotPercent } = this.#options;
    const blockCount = this.#options.sizeBlocks();
    const { prng } = world;
    const kind = drawKind(prng.below(100));
    const isFlush = kind === 'flush';
    const firstBlock = prng.chance(hotPercent) ? prng.below(4) : prng.below(blockCount);
    const count = isFlush
      ? 0
      : Math.min(1 + prng.below(prng.chance(20) ? 40 : 4), blockCount - firstBlock);
    const request: ClientRequest = {
      id: this.#options.nextId(),
      kind,
      firstBlock: isFlush ? 0 : firstBlock,
      blockCount: count,
      address: isFlush ? 0 : memory.allocate(count),
      fua: kind === 'write' && prng.chance(5),
      flushIssuedAt: isFlush ? expectations.flushIssued() : 0,
    };
    for (const [index, block] of [...blocksOf(request)].entries()) {
      if (!isChange(request.kind)) continue;
      const value = kind === 'write' ? 1 + (prng.next() >>> 2) : 0;
      memory.set(request.address + index * BLOCK_BYTES, value);
      expectations.issued(block, request.id, value);
    }
    this.#underWay.set(request.id, request);
    if (world.onTrace !== undefined) {
      world.trace(`client asks ${kind} ${request.id} of ${firstBlock} to ${firstBlock + count}`);
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
    if (kind === 'flush') this.#head?.path.flush(id);
    else if (kind === 'read') this.#head?.path.read(id, range);
    else this.#head?.path.change(id, { kind, ...range, fua });
  }
}

export function* blocksOf(request: ClientRequest): Generator<number> {
  for (let index = 0; index < request.blockCount; index++) yield request.firstBlock + index;
}

function drawKind(draw: number): Kind {
  if (draw < 50) return 'write';
  if (draw < 80) return 'read';
  if (draw < 86) return 'trim';
  if (draw < 90) return 'zero';
  return 'flush';
}
