/**
 * What must hold, looked at with eyes that see every drive and the store at once. The numbers are those of the checkers of
 * ../shared/replication-traps.md, section 3.
 */

import { isChange } from '../../src/replication/messages.ts';
import { type Record, fewest } from '../../src/replication/record.ts';
import { Violation } from '../world.ts';
import type { Cluster } from './cluster.ts';
import { type ClientRequest, type SimClient, blocksOf } from './sim-client.ts';
import type { SimEngine } from './sim-engine.ts';
import { EXTENT_BLOCKS, type Image, type SimMedia } from './sim-media.ts';

export class Checks {
  readonly #cluster: Cluster;
  /** Every member that was reached had lost something, and the store was told their new lives: what was not flushed may be gone. */
  #mayHaveLost = false;
  #previous: Record | undefined;
  /** Nothing was served since: whatever the one replica has is what the volume holds. */
  #isLossAccepted = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  onCommit(next: Record): void {
    const cluster = this.#cluster;
    cluster.count('commit');
    const previous = this.#previous;
    this.#previous = next;
    if (previous === undefined) return;
    if (next.epoch !== previous.epoch + 1) {
      throw new Violation('epoch', `${previous.epoch} is followed by ${next.epoch}`);
    }
    if (next.lineage !== previous.lineage) {
      this.#isLossAccepted = true;
      return;
    }
    if (next.members.size < fewest(previous)) {
      throw new Violation('minimum', 'S has too few members');
    }
    if (next.minimum > previous.minimum && next.members.size < next.minimum) {
      throw new Violation('minimum', 'S is to have more members than it has');
    }
    const isSameSet =
      previous.members.size === next.members.size &&
      [...next.members.keys()].every((replica) => previous.members.has(replica));
    if (!isSameSet) cluster.setChanges++;
    const changed = [...next.members].filter(([id, life]) => previous.members.get(id) !== life);
    if (isSameSet && changed.length === next.members.size) this.#mayHaveLost = true;
  }

  /** What it knows beside what can be seen. */
  fingerprint(): string {
    return `${this.#mayHaveLost} ${this.#isLossAccepted}`;
  }

  /** (4) Every member of the store's S took it; of a flush, has what was flushed durably. */
  onAcknowledged(engine: SimEngine, request: ClientRequest): void {
    const cluster = this.#cluster;
    if (cluster.serving !== engine) return;
    for (const [replica, life] of cluster.store.record.members) {
      const { media } = cluster.engineOf(replica);
      if (isChange(request.kind)) {
        if (media.life === life) this.#took(request, { replica, image: media.taken });
        if (request.fua) this.#took(request, { replica, image: media.durable });
      }
    }
  }

  /**
   * (5) As another session begins to serve: whether the volume is as the answer to `request` of an earlier one would say. A read of
   * theirs is not answered any more, whatever it saw.
   */
  isThere(request: ClientRequest): boolean {
    const cluster = this.#cluster;
    if (request.kind === 'read') return false;
    // All members are equal.
    const [replica] = cluster.store.record.members.keys();
    const { blocks } = cluster.engineOf(replica!).media.taken;
    if (request.kind === 'flush') {
      const { flushIssuedAt } = request;
      return blocks.every((value, block) =>
        cluster.expectations.mayBeDurable(block, value, flushIssuedAt),
      );
    }
    if (this.#mayHaveLost && !request.fua) return true;
    return this.#valuesOf(request).every(([block, value]) => blocks[block] === value);
  }

  /** A read failed: a block of it is readable on no member. */
  onUnreadable(request: ClientRequest): void {
    const cluster = this.#cluster;
    const media = [...cluster.store.record.members.keys()].map(
      (replica) => cluster.engineOf(replica).media,
    );
    const isLost = [...blocksOf(request)].some((block) =>
      media.every(({ rotten }) => rotten.has(block)),
    );
    if (!isLost) {
      throw new Violation('read', `read ${request.id} failed, and all of it is readable`);
    }
  }

  /** After a scrub: all that members have can be read. */
  onScrubbed(): void {
    for (const replica of this.#cluster.store.record.members.keys()) {
      const [block] = this.#cluster.engineOf(replica).media.rotten;
      if (block !== undefined) {
        throw new Violation('scrub', `${replica} cannot read block ${block} after a scrub`);
      }
    }
  }

  /** The head let the volume go because `client` asked it to, after all its requests. */
  onDetached(client: SimClient | undefined): void {
    if (client?.isShutOut === true) {
      throw new Violation('detach', 'a request of before it ended with the volume');
    }
  }

  /** After the client was told of a flush. */
  onFlushed(): void {
    const cluster = this.#cluster;
    for (const replica of cluster.store.record.members.keys()) {
      this.#isDurable(replica, cluster.engineOf(replica).media.durable);
    }
  }

  /** (6) All members are equal, durably, and hold what clients were told. */
  onServing(engine: SimEngine): void {
    const cluster = this.#cluster;
    if (this.#mayHaveLost) {
      this.#mayHaveLost = false;
      cluster.count('unflushed lost');
      if (engine.head?.clientLives === true) {
        throw new Violation('session', 'the client lives, and what it was told may be lost');
      }
      cluster.expectations.lostUnflushed();
    }
    const members = [...cluster.store.record.members.keys()];
    const first = cluster.engineOf(members[0]!).media;
    if (this.#isLossAccepted) {
      this.#isLossAccepted = false;
      if (members.length > 1) throw new Violation('lineage', 'a new one has more than one member');
      cluster.expectations.beginAnew(first.taken.blocks);
    }
    for (const replica of members) {
      const { media } = cluster.engineOf(replica);
      for (const image of [media.taken, media.durable]) {
        for (let block = 0; block < media.blockCount; block++) {
          const value = image.blocks[block]!;
          if (value !== first.taken.blocks[block]) {
            throw new Violation(
              'equal',
              `${replica} has ${value}${image === media.durable ? ' durably' : ''} in block ${block}, ${members[0]} has ${first.taken.blocks[block]}`,
            );
          }
          if (!cluster.expectations.mayBeFound(block, value)) {
            throw new Violation(
              'lost',
              `${replica} has ${value} in block ${block}; ${cluster.expectations.describe(block)}`,
            );
          }
        }
      }
    }
  }

  /** (7) Where members differ, one of them has a mark. No head has forgotten a member. */
  everySoOften(): void {
    const cluster = this.#cluster;
    for (const { node, head } of cluster.engines) {
      if (head === undefined || head.isOver || head.state === 'claiming') continue;
      for (const replica of head.changer.known.members.keys()) {
        if (head.members.find(replica) !== undefined) continue;
        throw new Violation('forgotten', `the head on node ${node} does without ${replica}`);
      }
    }
    const members = [...cluster.store.record.members.keys()].map(
      (replica) => cluster.engineOf(replica).media,
    );
    const first = members[0]!;
    for (const other of members) {
      if (!first.taken.hasSameBlocks(other.taken)) this.#areMarked(members, other);
    }
  }

  #areMarked(members: readonly SimMedia[], other: SimMedia): void {
    const first = members[0]!;
    for (let block = 0; block < first.blockCount; block++) {
      if (other.taken.blocks[block] === first.taken.blocks[block]) continue;
      const extent = Math.floor(block / EXTENT_BLOCKS);
      if (members.some((media) => media.taken.marks.has(extent))) continue;
      const values = members.map((media) => media.taken.blocks[block]).join(', ');
      throw new Violation(
        'mark',
        `members differ in block ${block} (${values}), and none is marked`,
      );
    }
  }

  #took(
    request: ClientRequest,
    { replica, image }: { readonly replica: string; readonly image: Image },
  ): void {
    for (const [block, value] of this.#valuesOf(request)) {
      if (image.blocks[block] !== value) {
        throw new Violation(
          'took',
          `${request.kind} of block ${block} is acknowledged, and ${replica} has ${image.blocks[block]} in place of ${value}`,
        );
      }
    }
  }

  /** What a change makes of its blocks. */
  #valuesOf(request: ClientRequest): (readonly [block: number, value: number])[] {
    const { memory } = this.#cluster;
    return [...blocksOf(request)].map((block, index) => [
      block,
      request.kind === 'write' ? memory.get(request.address + index * 4096) : 0,
    ]);
  }

  #isDurable(replica: string, image: Image): void {
    for (const [block, value] of image.blocks.entries()) {
      if (this.#cluster.expectations.mayBeDurable(block, value)) continue;
      throw new Violation(
        'flush',
        `${replica} has ${value} durably in block ${block}; ${this.#cluster.expectations.describe(block)}`,
      );
    }
  }
}
