/** The content of a replica as one process sees it: requests take time, fail and hang; their effect comes at some moment before their answer. */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import { EIO, ENOSPC } from '../../src/model/errno.ts';
import type { Digest, Mark, Request, SurveyEntry } from '../../src/replication/messages.ts';
import type { ReplicaContent, ReplicaState } from '../../src/replication/replica.ts';
import { Violation, type World } from '../world.ts';
import { EXTENT_BLOCKS, type Piece, type SimMedia } from './sim-media.ts';
import type { SimMemory } from './sim-memory.ts';

/** So few that most takeovers ask for marks more than once. */
const MARKS_PER_ANSWER = 2;

/** How the drive is doing at the moment; changed by faults. */
export type DriveHealth = {
  slow: boolean;
  /** Some requests take longer than all that come after them. */
  stuttering: boolean;
  hung: boolean;
  full: boolean;
  /** The next request fails, and the drive with it. */
  failing: boolean;
};

export type SimContentHost = {
  readonly world: World;
  readonly memory: SimMemory;
  readonly health: DriveHealth;
  onDone(token: number, errno: number): void;
  /** A write or flush failed: the drive must be opened anew. */
  onFailed(): void;
};

export class SimContent implements ReplicaContent {
  readonly #media: SimMedia;
  readonly #host: SimContentHost;
  /** Effects that are still to come, with the tokens of their requests. */
  readonly #coming = new Map<() => void, number>();
  /** What waits for a hung drive. */
  readonly #held: (() => void)[] = [];
  #isOver = false;

  constructor(media: SimMedia, host: SimContentHost) {
    this.#media = media;
    this.#host = host;
  }

  get life(): number {
    return this.#media.life;
  }

  get state(): ReplicaState {
    return this.#media.state;
  }

  /** Tokens of requests whose effect is still to come. */
  get coming(): readonly number[] {
    return [...this.#coming.values()];
  }

  read(token: number, request: Request): void {
    const first = request.offsetBytes / BLOCK_BYTES;
    const count = request.lengthBytes / BLOCK_BYTES;
    const { address } = request;
    this.#work(token, () => {
      if (this.#isRotten(first, count)) return EIO;
      for (let index = 0; index < count; index++) {
        const value = this.#media.taken.blocks[first + index] ?? 0;
        this.#host.memory.set(address + index * BLOCK_BYTES, value);
      }
      return 0;
    });
  }

  change(token: number, request: Request): void {
    const pieces = this.#pieces(request);
    const { fua } = request;
    const grows = request.kind === 'write' || request.kind === 'copy';
    this.#work(token, () => {
      if (grows && this.#host.health.full && pieces.some((piece) => this.#allocates(piece))) {
        return ENOSPC;
      }
      for (const piece of pieces) this.#media.take(piece);
      if (fua) this.#media.flush();
      return 0;
    });
  }

  flush(token: number): void {
    this.#work(token, () => {
      this.#media.flush();
      return 0;
    });
  }

  keep(token: number, state: ReplicaState): void {
    this.#work(token, () => {
      this.#media.state = state;
      if (state.seen !== undefined) this.#media.resize(state.seen.sizeBytes / BLOCK_BYTES);
      return 0;
    });
  }

  stamp(token: number, epoch: number): void {
    this.#work(token, () => {
      this.#media.stamp(epoch);
      return 0;
    });
  }

  dropMarks(epoch: number, number: number): void {
    this.#media.taken.dropMarks(epoch, number);
    if (this.#host.world.prng.chance(50)) this.#media.durable.dropMarks(epoch, number);
  }

  marks(firstExtent: number): readonly Mark[] {
    return [...this.#media.taken.marks]
      .map(([extent, { mask }]) => ({ extent, mask }))
      .filter(({ extent }) => extent >= firstExtent)
      .toSorted((a, b) => a.extent - b.extent)
      .slice(0, MARKS_PER_ANSWER);
  }

  digest(token: number, extent: number, onDigest: (digest: Digest) => void): void {
    this.#work(token, () => {
      if (this.#isRotten(extent * EXTENT_BLOCKS, EXTENT_BLOCKS)) return EIO;
      const { blocks, stamps } = this.#media.taken;
      const words: [number, number, number, number] = [17, 0, 0, 0];
      let dataMask = 0;
      for (let index = 0; index < EXTENT_BLOCKS; index++) {
        const value = blocks[extent * EXTENT_BLOCKS + index] ?? 0;
        if (value !== 0) dataMask |= 1 << index;
        words[index % 4] = Math.imul(words[index % 4]! ^ value, 0x9e3779b1) + index;
      }
      onDigest({ words, dataMask, stamp: stamps[extent] ?? 0 });
      return 0;
    });
  }

  survey(firstExtent: number, count: number): readonly SurveyEntry[] {
    const { taken } = this.#media;
    const entries: SurveyEntry[] = [];
    const end = Math.min(taken.stamps.length, firstExtent + count);
    for (let extent = firstExtent; extent < end; extent++) {
      let dataMask = 0;
      for (let index = 0; index < EXTENT_BLOCKS; index++) {
        if (taken.blocks[extent * EXTENT_BLOCKS + index] !== 0) dataMask |= 1 << index;
      }
      if (dataMask !== 0) entries.push({ extent, stamp: taken.stamps[extent] ?? 0, dataMask });
    }
    return entries;
  }

  /** The process is gone: what was submitted to the drive may still take effect, now. */
  end(): void {
    this.#isOver = true;
    for (const effect of this.#coming.keys()) if (this.#host.world.prng.chance(50)) effect();
    this.#coming.clear();
  }

  /** A hung drive goes on. */
  resume(): void {
    for (const step of this.#held.splice(0)) step();
  }

  #work(token: number, effect: () => number): void {
    const { world, health } = this.#host;
    // Now and then a request takes much longer than its neighbours.
    const limitUs = world.prng.chance(3) ? (health.stuttering ? 80_000 : 6000) : 150;
    const delayUs = world.prng.below(health.slow ? 20_000 : limitUs) + 10;
    const come = (): void => {
      this.#coming.delete(come);
      if (this.#isOver && health.failing) return;
      if (health.failing) {
        this.#host.onFailed();
        return;
      }
      const errno = effect();
      if (this.#isOver) return;
      world.schedule(world.prng.below(delayUs), () => {
        if (!this.#isOver) this.#host.onDone(token, errno);
      });
    };
    this.#coming.set(come, token);
    world.schedule(delayUs, () => {
      if (!this.#coming.has(come)) return;
      if (health.hung) this.#held.push(come);
      else come();
    });
  }

  #isRotten(first: number, count: number): boolean {
    for (const block of this.#media.rotten)
      if (block >= first && block < first + count) return true;
    return false;
  }

  #allocates(piece: Piece): boolean {
    for (let index = 0; index < EXTENT_BLOCKS; index++) {
      const isHole = this.#media.taken.blocks[piece.extent * EXTENT_BLOCKS + index] === 0;
      if ((piece.mask & (1 << index)) !== 0 && (piece.values[index] ?? 0) !== 0 && isHole)
        return true;
    }
    return false;
  }

  /** One for each extent; the values are read now: the memory is not touched before the answer. */
  #pieces(request: Request): Piece[] {
    const first = request.offsetBytes / BLOCK_BYTES;
    const end = first + request.lengthBytes / BLOCK_BYTES;
    if (end > this.#media.sizeBlocks) {
      throw new Violation('size', `a change up to block ${end} of ${this.#media.sizeBlocks}`);
    }
    const hasBytes = request.kind === 'write' || request.kind === 'copy';
    const { epoch, number } = request;
    const stamp = request.kind === 'copy' ? request.stamp : epoch;
    const pieces: Piece[] = [];
    for (let extent = Math.floor(first / EXTENT_BLOCKS); extent * EXTENT_BLOCKS < end; extent++) {
      let mask = 0;
      const values: number[] = [];
      for (let index = 0; index < EXTENT_BLOCKS; index++) {
        const block = extent * EXTENT_BLOCKS + index;
        const isIn = block >= first && block < end;
        if (isIn) mask |= 1 << index;
        const hasData =
          isIn && hasBytes && (request.kind !== 'copy' || (request.dataMask & (1 << index)) !== 0);
        values.push(
          hasData ? this.#host.memory.get(request.address + (block - first) * BLOCK_BYTES) : 0,
        );
      }
      pieces.push({ extent, mask, values, epoch, number, stamp });
    }
    return pieces;
  }
}
