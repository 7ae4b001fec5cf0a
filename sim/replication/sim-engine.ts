/** One node of the simulation: a drive that outlives its processes, and an engine process with the replica and, at times, the head. */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import type { Answer, Request } from '../../src/replication/messages.ts';
import { Head } from '../../src/replication/head.ts';
import type { HeadEnd, HeadEvent } from '../../src/replication/head-host.ts';
import type { HeadId, Record } from '../../src/replication/record.ts';
import { Replica } from '../../src/replication/replica.ts';
import type { World } from '../world.ts';
import { SimContent } from './sim-content.ts';
import { EXTENT_BLOCKS, SimMedia } from './sim-media.ts';
import type { SimMemory } from './sim-memory.ts';
import { type Connection, type SimNetwork, copyAnswer, copyRequest } from './sim-network.ts';
import type { SimRecordStore } from './sim-record-store.ts';

const TICK_US = 25_000;

/** Why a process does something: a message, or words. */
export type Step = Request | Answer | string | number;

export type EngineHost = {
  readonly world: World;
  readonly memory: SimMemory;
  readonly network: SimNetwork;
  readonly store: SimRecordStore;
  engine(node: number): SimEngine;
  onDone(engine: SimEngine, token: number, errno: number): void;
  onServing(engine: SimEngine, record: Record): void;
  onEnd(engine: SimEngine, end: HeadEnd): void;
  onEvent(engine: SimEngine, event: HeadEvent): void;
  /** The process on it is about to do something: `what` names it, or is a message that arrived. */
  onStep(engine: SimEngine, what: Step): void;
};

export function replicaOf(node: number): string {
  return `r${node}`;
}

export class SimEngine {
  readonly node: number;
  readonly media: SimMedia;
  readonly health = { slow: false, stuttering: false, hung: false, full: false, failing: false };
  readonly #host: EngineHost;
  /** How often the process was started. */
  start = 0;
  isRunning = false;
  isPaused = false;
  replica: Replica | undefined;
  content: SimContent | undefined;
  head: Head | undefined;
  #attempts = 0;
  /** How many transactions its heads made. */
  #writers = 0;
  #stepDepth = 0;
  /** What waits for the process to be continued. */
  readonly #paused: (() => void)[] = [];
  /** Connections of the head to replicas, by node. */
  readonly #connections = new Map<number, Connection>();
  /** All that the head ever had. */
  readonly #connected = new Set<Connection>();
  /** Connections from heads to the replica here. */
  readonly #inbound = new Map<
    number,
    { readonly connection: Connection; readonly onReset: () => void }
  >();

  constructor(
    node: number,
    { blockCount, sizeBlocks }: { readonly blockCount: number; readonly sizeBlocks: number },
    host: EngineHost,
  ) {
    this.node = node;
    this.media = new SimMedia(blockCount, sizeBlocks);
    this.#host = host;
  }

  startProcess(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.isPaused = false;
    this.start++;
    this.health.hung = false;
    this.health.failing = false;
    this.#openReplica();
    this.#tick(this.start);
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.isRunning) return;
    this.isRunning = false;
    this.isPaused = false;
    this.#paused.length = 0;
    this.#closeReplica();
    this.head = undefined;
    this.#connections.clear();
    for (const { onReset } of this.#inbound.values()) onReset();
    this.#inbound.clear();
  }

  losePower(): void {
    const { prng } = this.#host.world;
    for (const connection of this.#connections.values()) connection.isLost = prng.chance(50);
    this.kill();
    this.media.losePower(this.#host.world.prng);
  }

  /** The connection of the head to the replica on `to` breaks; both go on, and what was sent may still arrive. */
  breakConnection(to: number): void {
    const { head } = this;
    const { prng, nowUs } = this.#host.world;
    const connection = this.#connections.get(to);
    if (connection === undefined) return;
    this.#connections.delete(to);
    if (prng.chance(60)) connection.strayUntilUs = nowUs + prng.below(2500);
    this.#whenRunning(this.start, `broken ${to}`, () => {
      if (head !== undefined && this.head === head) head.onUnreachable(replicaOf(to), false);
    });
  }

  pause(): void {
    if (this.isRunning) this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (const step of this.#paused.splice(0)) step();
  }

  /** Runs the head of the volume here. */
  startHead(
    record: Record,
    { clientLives, stallLimitMs }: { readonly clientLives: boolean; readonly stallLimitMs: number },
  ): Head {
    const id: HeadId = { engine: `e${this.node}`, start: this.start, attempt: ++this.#attempts };
    const own = this.start;
    const { world, memory, store } = this.#host;
    const head: Head = new Head({
      id,
      record,
      local: replicaOf(this.node),
      clientLives,
      stallLimitMs,
      host: {
        now: () => world.nowUs / 1000,
        send: (replica, request) => this.#send(nodeOf(replica), request),
        connect: (replica) => this.#connect(nodeOf(replica)),
        transact: (expected, next) => {
          store.transact(expected, next, (outcome) => {
            this.#whenRunning(own, `${next.writer} ${outcome.kind}`, () => {
              if (this.head === head) head.onOutcome(next.writer, outcome);
            });
          });
        },
        newWriter: () => `w${this.node}.${++this.#writers}`,
        onDone: (token, errno) => this.#host.onDone(this, token, errno),
        // A late reader's bytes come after the client has looked at its own.
        readTo: (_token, address) => address,
        onServing: (served) => this.#host.onServing(this, served),
        onEnd: (end) => this.#host.onEnd(this, end),
        onEvent: (event) => this.#host.onEvent(this, event),
        borrow: (use) => use(memory.allocate(EXTENT_BLOCKS)),
        giveBack: (address) => memory.free(address, EXTENT_BLOCKS),
        abandon: () => {
          // Never handed out again, as it may still be written to.
        },
      },
    });
    this.head = head;
    this.#connected.clear();
    head.start();
    return head;
  }

  /** A client beside the head asks it. */
  ask(what: Step, step: (head: Head) => void): void {
    const { head } = this;
    this.#whenRunning(this.start, what, () => {
      if (head !== undefined && this.head === head) step(head);
    });
  }

  /** A head asks. */
  receive(connection: Connection, request: Request): void {
    if (!this.#inbound.has(connection.id)) return;
    const own = this.start;
    this.#whenRunning(own, request, () => this.replica?.receive(connection.id, request));
  }

  accept(connection: Connection, onReset: () => void): void {
    this.#inbound.set(connection.id, { connection, onReset });
  }

  /** The drive failed: it is opened anew a little later, and what was not flushed may be lost. */
  reopenDrive(): void {
    if (!this.isRunning) return;
    this.health.failing = false;
    this.#closeReplica();
    for (const { onReset } of this.#inbound.values()) onReset();
    this.#inbound.clear();
    this.media.losePower(this.#host.world.prng);
    const own = this.start;
    this.#host.world.schedule(30_000, () => {
      if (this.isRunning && this.start === own && this.replica === undefined) this.#openReplica();
    });
  }

  #openReplica(): void {
    const { world, memory } = this.#host;
    const own = this.start;
    const content = new SimContent(this.media, {
      world,
      memory,
      health: this.health,
      onDone: (token, errno) => {
        this.#whenRunning(own, `${token}: ${errno}`, () => {
          if (this.content === content) this.replica?.onDone(token, errno);
        });
      },
      onFailed: () => this.reopenDrive(),
    });
    this.content = content;
    this.replica = new Replica(replicaOf(this.node), {
      content,
      host: {
        now: () => world.nowUs / 1000,
        answer: (connectionId, answer) => this.#answer(connectionId, answer),
        dropped: () => {
          // The collector has the copies.
        },
      },
    });
  }

  #closeReplica(): void {
    this.content?.end();
    this.content = undefined;
    this.replica = undefined;
  }

  #tick(own: number): void {
    this.#host.world.schedule(TICK_US, () => {
      if (!this.isRunning || this.start !== own) return;
      if (!this.isPaused) {
        this.replica?.tick();
        this.head?.tick();
      }
      this.#tick(own);
    });
  }

  /** Now, or when the process is continued; never in a later one. */
  #whenRunning(own: number, what: Step, step: () => void): void {
    if (this.isRunning && this.start === own) this.#host.onStep(this, what);
    if (!this.isRunning || this.start !== own) return;
    if (this.isPaused) {
      this.#paused.push(step);
      return;
    }
    this.#stepDepth++;
    step();
    // A client asks for more as it is answered: within a step.
    if (--this.#stepDepth === 0) this.head?.path.operations.recycle();
  }

  #answer(connectionId: number, answer: Answer): void {
    const inbound = this.#inbound.get(connectionId);
    if (inbound === undefined) return;
    const { connection } = inbound;
    const copy = copyAnswer(answer);
    const { network } = this.#host;
    network.toHead(connection, copy, () => {
      this.#host.engine(connection.from).onAnswer(connection, copy);
    });
  }

  onAnswer(connection: Connection, answer: Answer): void {
    this.#whenRunning(this.start, answer, () => {
      // Also what comes late over a connection that was given up.
      if (this.#connected.has(connection)) this.head?.onAnswer(answer);
    });
  }

  #send(to: number, request: Request): void {
    const connection = this.#connections.get(to);
    if (connection === undefined) return;
    const copy = copyRequest(request);
    copy.address = this.#payload(request);
    this.#host.network.toReplica(connection, copy, () => {
      this.#host.engine(to).receive(connection, copy);
    });
  }

  /** Bytes are taken as they are sent: their owner may have them back before they arrive. */
  #payload(request: Request): number {
    if (request.kind !== 'write' && request.kind !== 'copy') return request.address;
    const { memory } = this.#host;
    const count = request.lengthBytes / BLOCK_BYTES;
    const address = memory.allocate(count);
    for (let index = 0; index < count; index++) {
      const offset = index * BLOCK_BYTES;
      memory.set(address + offset, memory.get(request.address + offset));
    }
    return address;
  }

  #connect(to: number): void {
    const own = this.start;
    const { head } = this;
    this.#connections.delete(to);
    const other = this.#host.engine(to);
    this.#host.network.connect(this.node, other, (result) => {
      this.#whenRunning(own, `connect ${to}: ${typeof result}`, () => {
        if (this.head !== head) return;
        if (typeof result === 'string' || other.replica === undefined) {
          head?.onUnreachable(replicaOf(to), result === 'refused');
          return;
        }
        this.#connections.set(to, result);
        this.#connected.add(result);
        other.accept(result, () => this.#onReset(own, result));
        head?.onConnected(replicaOf(to));
      });
    });
  }

  /** The other end is gone, and says so unless the link is cut. */
  #onReset(own: number, connection: Connection): void {
    this.#host.network.toHead(connection, 'reset', () => {
      this.#whenRunning(own, `reset ${connection.to}`, () => {
        if (this.#connections.get(connection.to) !== connection) return;
        this.#connections.delete(connection.to);
        this.head?.onUnreachable(replicaOf(connection.to), false);
      });
    });
  }
}

function nodeOf(replica: string): number {
  return Number(replica.slice(1));
}
