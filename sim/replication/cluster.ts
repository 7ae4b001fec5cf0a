/** A cluster with one volume, on virtual time: engines, network, store, a client, what control does, and the checks of all of it. */

import { Prng } from '../../src/lib/prng.ts';
import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import { EIO } from '../../src/model/errno.ts';
import type { HeadEnd, HeadEvent } from '../../src/replication/head-host.ts';
import {
  type HeadId,
  type Record,
  attached,
  defaultMinimum,
  lossAccepted,
} from '../../src/replication/record.ts';
import { Violation, type World } from '../world.ts';
import { Checks } from './checks.ts';
import { Expectations } from './expectations.ts';
import type { Requests } from './requests.ts';
import { SimClient } from './sim-client.ts';
import { SimEngine, type Step, replicaOf } from './sim-engine.ts';
import { SimMemory } from './sim-memory.ts';
import { SimNetwork } from './sim-network.ts';
import { SimRecordStore } from './sim-record-store.ts';

export type ClusterOptions = {
  readonly nodeCount: number;
  readonly replicaCount: number;
  /** The most that the volume grows to. */
  readonly blockCount: number;
  readonly sizeBlocks: number;
  /** Requests of a client under way at once. */
  readonly depth: number;
  /** Between an answer and the next request. */
  readonly thinkUs: number;
  /** After which a session that stands still ends. */
  readonly stallLimitMs: number;
};

/** How often control looks at the volume. */
const CONTROL_US = 20_000;

export class Cluster {
  readonly world: World;
  readonly memory = new SimMemory();
  readonly network: SimNetwork;
  readonly store: SimRecordStore;
  readonly engines: SimEngine[] = [];
  readonly expectations: Expectations;
  readonly checks: Checks;
  readonly options: ClusterOptions;
  /** How often what happened. */
  readonly counts = new Map<string, number>();
  client: SimClient | undefined;
  /** Where it is; -1: there is none. */
  clientNode = -1;
  /** Clients of sessions before that, each beside a head that does not know it is over; by node. */
  readonly #ghosts = new Map<number, SimClient>();
  /** Where the volume is to be attached. */
  wantedNode = 0;
  /** Where its replicas are to be: as many nodes as it has replicas. */
  readonly replicaNodes = new Set<number>();
  /** What a fault leaves to chance: anew for each, so that it does the same where another one is left out. */
  prng = new Prng(1);
  /** Transactions that made S another one. */
  setChanges = 0;
  /** The engine whose head serves. */
  serving: SimEngine | undefined;
  readonly requests: Requests;
  /** The longest time between two answers to clients, since it was set to 0. */
  longestGapUs = 0;
  #answeredAtUs = 0;
  /** What the client was told. */
  sizeBlocks: number;
  /** Control does as it is told at the moment, and else keeps the volume where it is. */
  #isAttaching = false;
  #attachCount = 0;
  #requestCount = 0;
  #transactions = 0;
  #head: HeadId | undefined;
  #lineage = 1;
  /** A head claimed the volume. */
  onClaim: () => void = () => undefined;
  onStep: (engine: SimEngine, what: Step) => void = () => undefined;
  onHeadEvent: (event: HeadEvent) => void = () => undefined;

  constructor(world: World, options: ClusterOptions, requests: Requests) {
    this.world = world;
    this.options = options;
    this.requests = requests;
    this.sizeBlocks = options.sizeBlocks;
    this.network = new SimNetwork(world);
    this.expectations = new Expectations(options.blockCount);
    const members = new Map<string, number>();
    for (let node = 0; node < options.replicaCount; node++) {
      members.set(replicaOf(node), 1);
      this.replicaNodes.add(node);
    }
    const record: Record = {
      lineage: 1,
      epoch: 1,
      writer: 'created',
      head: undefined,
      attachment: undefined,
      members,
      minimum: defaultMinimum(options.replicaCount),
      sizeBytes: options.sizeBlocks * BLOCK_BYTES,
    };
    this.store = new SimRecordStore(world, record, (next) => {
      const isClaim = next.head !== undefined && next.head !== this.#head;
      this.#head = next.head;
      if (next.lineage !== this.#lineage) this.#onLossAccepted(next.lineage);
      this.checks.onCommit(next);
      if (isClaim) this.onClaim();
    });
    this.checks = new Checks(this);
    for (let node = 0; node < options.nodeCount; node++) {
      this.engines.push(
        new SimEngine(node, options, {
          world,
          memory: this.memory,
          network: this.network,
          store: this.store,
          engine: (other) => this.engines[other]!,
          onDone: (engine, token, errno) => this.#onDone(engine, token, errno),
          onServing: (engine, served) => this.#onServing(engine, served),
          onEnd: (engine, end) => this.#onEnd(engine, end),
          onStep: (engine, what) => this.onStep(engine, what),
          onEvent: (engine, event) => {
            this.count(`head: ${event}`);
            this.world.trace(`node ${engine.node}: ${event}`);
            if (event === 'stall given up') this.#endClientOf(engine);
            if (event === 'copies differed') {
              throw new Violation('scrub', 'members differ where no change is under way');
            }
            this.onHeadEvent(event);
          },
        }),
      );
    }
    for (const engine of this.engines) engine.startProcess();
    this.#control();
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** The engines that are to have a replica. */
  get replicas(): SimEngine[] {
    return this.engines.filter(({ node }) => this.replicaNodes.has(node));
  }

  /** Those that are not. */
  get spares(): SimEngine[] {
    return this.engines.filter(({ node }) => !this.replicaNodes.has(node));
  }

  engineOf(replica: string): SimEngine {
    return this.engines[Number(replica.slice(1))]!;
  }

  get isDone(): boolean {
    return this.requests.left === 0 && (this.client?.size ?? 0) === 0 && this.#ghosts.size === 0;
  }

  /** Everything was answered, every replica is a member, and nobody is about to take the volume over. */
  get isWhole(): boolean {
    const head = this.serving?.head;
    if (!this.isDone || head === undefined || head.state !== 'serving') return false;
    const { record } = this.store;
    if (record.head !== head.id || this.serving?.node !== this.wantedNode) return false;
    if (this.replicas.some(({ node }) => !record.members.has(replicaOf(node)))) return false;
    return head.path.operations.size === 0 && head.changer.pending === undefined;
  }

  /** For people: who is what at the moment. */
  describe(): string[] {
    const { record } = this.store;
    const lines = [
      `epoch ${record.epoch}, head ${record.head?.engine}.${record.head?.start}.${record.head?.attempt}, attached ${record.attachment?.attachId}, members ${[...record.members].join(' ')}; wanted on ${this.wantedNode}; ${this.client?.size ?? 'no client'} under way`,
    ];
    for (const { node, head, isRunning, isPaused, health, media } of this.engines) {
      lines.push(
        `node ${node}: ${isRunning ? 'runs' : 'does not run'}${isPaused ? ', paused' : ''}, life ${media.life}, ${JSON.stringify(health)}, head ${head?.state} ${head?.stalled ?? ''} serving ${head?.path.isServing}, pending ${head?.changer.pending?.epoch}, needs ${head?.path.neededSeats}, open ${head?.members.openSeats}`,
      );
      for (const member of head?.members ?? []) {
        const { replica, seat, link, state, life, isTarget, gone, failed, damaged } = member;
        lines.push(
          `  ${replica} ${JSON.stringify({ seat, link, state, life, isTarget, gone, failed, damaged })}`,
        );
      }
      for (const operation of head?.path.operations ?? []) {
        const { id, kind, started, isAcknowledged, isSettling, sentSeats, tookSeats } = operation;
        lines.push(
          `  ${JSON.stringify({ id, kind, first: operation.firstBlock, end: operation.endBlock, started, isAcknowledged, isSettling, sentSeats, tookSeats })}`,
        );
      }
    }
    return lines;
  }

  /** Somebody asks for a larger volume; whether it comes to it depends on the head's life. */
  grow(): void {
    const head = this.serving?.head;
    const { blockCount } = this.options;
    const wanted = Math.min(blockCount, this.sizeBlocks + 1 + this.prng.below(12));
    head?.grow(wanted * BLOCK_BYTES, () => {
      this.sizeBlocks = Math.max(this.sizeBlocks, wanted);
    });
  }

  /** Somebody wants more or fewer of the replicas to be in sync. */
  changeMinimum(): void {
    const minimum = 1 + this.prng.below(defaultMinimum(this.options.replicaCount));
    this.serving?.head?.setMinimum(minimum, () => undefined);
  }

  /** An operator brings the volume up from the replica of `engine`, and sees to it that there is no head. */
  acceptLoss({ node, media }: SimEngine): void {
    const { record } = this.store;
    if (this.engines.some(({ head }) => head !== undefined)) return;
    const next = lossAccepted(record, {
      replica: replicaOf(node),
      life: media.life,
      lineage: record.lineage + 1 + this.world.prng.below(1000),
      writer: `c${++this.#transactions}`,
    });
    this.store.transact(record, next, () => undefined);
  }

  #onLossAccepted(lineage: number): void {
    this.#lineage = lineage;
    this.count('loss accepted');
    for (const engine of this.engines) this.#endClientOf(engine);
  }

  /** The machine is gone, and with it the client. */
  losePower(engine: SimEngine): void {
    this.#endClientOf(engine);
    engine.losePower();
    if (this.serving === engine) this.serving = undefined;
  }

  kill(engine: SimEngine): void {
    if (this.clientNode === engine.node) this.client?.disconnect();
    this.#endGhost(engine);
    engine.kill();
    if (this.serving === engine) this.serving = undefined;
  }

  #endClientOf(engine: SimEngine): void {
    this.#endGhost(engine);
    if (this.clientNode !== engine.node) return;
    this.client?.end();
    this.client = undefined;
    this.clientNode = -1;
  }

  #endGhost({ node }: SimEngine): void {
    this.#ghosts.get(node)?.end();
    this.#ghosts.delete(node);
  }

  /** Another session serves; the head of the one before may not know. */
  #leaveGhost(): void {
    const { client, clientNode } = this;
    if (client === undefined) return;
    this.client = undefined;
    if (this.engines[clientNode]!.head === undefined) {
      client.end();
    } else {
      this.count('ghost');
      client.haunt((request) => this.checks.isThere(request));
      this.#ghosts.set(clientNode, client);
    }
  }

  #onDone(engine: SimEngine, token: number, errno: number): void {
    const ghost = this.#ghosts.get(engine.node);
    const client = ghost ?? (this.clientNode === engine.node ? this.client : undefined);
    const request = client?.find(token);
    if (request === undefined || client === undefined) return;
    const outcome = errno === 0 ? 'ok' : 'error';
    if (ghost !== undefined) {
      this.count(`ghost: answer ${request.kind} ${outcome}`);
      ghost.onDone(request, errno);
      return;
    }
    this.count(`answer ${request.kind} ${outcome}`);
    this.longestGapUs = Math.max(this.longestGapUs, this.world.nowUs - this.#answeredAtUs);
    this.#answeredAtUs = this.world.nowUs;
    if (errno === 0) this.checks.onAcknowledged(engine, request);
    else if (errno === EIO && request.kind === 'read') this.checks.onUnreadable(request);
    client.onDone(request, errno);
    if (errno === 0 && request.kind === 'flush') this.checks.onFlushed();
  }

  #onServing(engine: SimEngine, served: Record): void {
    this.world.trace(`node ${engine.node} serves at epoch ${served.epoch}`);
    const isSameClient = this.clientNode === engine.node && this.client !== undefined;
    if (!isSameClient) this.#leaveGhost();
    this.checks.onServing(engine);
    if (this.serving !== engine || this.clientNode !== engine.node) {
      if (!isSameClient) {
        this.clientNode = engine.node;
        this.client = this.#newClient();
      }
      this.serving = engine;
      const head = engine.head!;
      const { client } = this;
      // The head may be in the middle of something that it did not finish.
      this.world.schedule(1, () => {
        if (engine.head === head && this.client === client) client?.connect(engine);
      });
    }
  }

  #newClient(): SimClient {
    const { depth, thinkUs } = this.options;
    return new SimClient({
      world: this.world,
      memory: this.memory,
      expectations: this.expectations,
      sizeBlocks: () => this.sizeBlocks,
      depth,
      thinkUs,
      nextId: () => ++this.#requestCount,
      take: () => this.requests.take(this.world, this.sizeBlocks, () => this.client?.fill()),
    });
  }

  #onEnd(engine: SimEngine, end: HeadEnd): void {
    this.count(`head ended: ${end}`);
    this.world.trace(`head on node ${engine.node} ends: ${end}`);
    if (end === 'detached') this.checks.onDetached(this.client);
    this.#endClientOf(engine);
    if (this.serving === engine) this.serving = undefined;
    engine.head = undefined;
  }

  /** Attaches the volume where it is wanted, and brings replicas back. */
  #control(): void {
    this.world.schedule(1 + this.world.prng.below(CONTROL_US), () => {
      this.settle();
      this.checks.everySoOften();
      this.#control();
    });
  }

  /** Control looks at it. */
  settle(): void {
    if (this.#isAttaching || this.store.isAway) return;
    const engine = this.engines[this.wantedNode]!;
    if (!engine.isRunning || engine.isPaused) return;
    if (engine.head !== undefined) {
      if (engine.head.state === 'serving' || engine.head.state === 'opening') this.#rebuild(engine);
      return;
    }
    const { record } = this.store;
    const isItsClient = record.attachment?.attachId === this.#attachIdOf(engine);
    if (isItsClient) {
      const clientLives = this.clientNode === engine.node && this.client !== undefined;
      engine.startHead(record, { clientLives, stallLimitMs: this.options.stallLimitMs });
      return;
    }
    this.#isAttaching = true;
    const attachment = { attachId: `a${++this.#attachCount}-${engine.node}`, boot: '' };
    const next = attached(record, attachment, `c${++this.#transactions}`);
    this.store.transact(record, next, () => {
      this.#isAttaching = false;
    });
  }

  #attachIdOf(engine: SimEngine): string {
    return `a${this.#attachCount}-${engine.node}`;
  }

  #rebuild(engine: SimEngine): void {
    const members = [...this.store.record.members.keys()];
    const unwanted = members.find((replica) => !this.replicaNodes.has(this.engineOf(replica).node));
    for (const { node, isRunning } of this.replicas) {
      // Of ten rebuilds one; in the small scope, where chances are choices, none.
      const isInPlace = this.world.prng.below(100) < 10;
      const replaced = unwanted ?? (isInPlace ? this.world.prng.pick(members) : undefined);
      if (isRunning) engine.head?.rebuild(replicaOf(node), replaced);
    }
  }
}
