/**
 * Connections between the engines of the simulation. Each keeps its order, and is slower or faster than others; cut links hold what
 * was sent until they are whole again, so that old bytes arrive late, also after a newer connection was made.
 */

import { Answer, Request } from '../../src/replication/messages.ts';
import type { World } from '../world.ts';

/** A try to connect that gets no answer ends after so long. */
const CONNECT_LIMIT_US = 400_000;
const LATE_PERCENT = 2;
/** To another node, at least. */
const NEXT_US = 40;

export type Endpoint = {
  readonly node: number;
  readonly isRunning: boolean;
};

export type Connection = {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  /** When the last message each way arrives: the next is not earlier. */
  requestsAtUs: number;
  /** Of its messages, how many are late. */
  readonly latePercent: number;
  /** The machine of the head lost power: what it sent last was not on its way yet. */
  isLost: boolean;
  answersAtUs: number;
  /** What is still on its way arrives no earlier: the connection was given up, and its bytes are late. */
  strayUntilUs: number;
};

export type InFlight = {
  readonly from: number;
  readonly to: number;
  readonly message: Request | Answer | 'reset';
};

export class SimNetwork {
  readonly #world: World;
  /** Directed links that are cut: from * 16 + to. */
  readonly #cut = new Set<number>();
  readonly #held: { readonly link: number; readonly run: () => void }[] = [];
  #nextId = 1;
  /** What was sent and did not arrive; undefined: nobody wants to know. */
  inFlight: Set<InFlight> | undefined;
  /** Percent of connections that are slow: what comes over one may be overtaken by what comes over the next. */
  slowPercent = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** `onDone`: the connection, or why there is none. */
  connect(
    from: number,
    to: Endpoint,
    onDone: (result: Connection | 'refused' | 'silence') => void,
  ): void {
    const delayUs = this.#delay(from, to.node);
    this.#world.schedule(delayUs, () => {
      if (this.#isCut(from, to.node) || this.#isCut(to.node, from)) {
        this.#world.schedule(CONNECT_LIMIT_US, () => onDone('silence'));
      } else if (to.isRunning) {
        onDone({
          id: this.#nextId++,
          from,
          to: to.node,
          requestsAtUs: 0,
          latePercent: this.#world.prng.chance(this.slowPercent) ? 40 : LATE_PERCENT,
          answersAtUs: 0,
          isLost: false,
          strayUntilUs: 0,
        });
      } else {
        onDone('refused');
      }
    });
  }

  /** Runs `deliver` when the request arrives at the other end. */
  toReplica(connection: Connection, message: Request, deliver: () => void): void {
    const { from, to, latePercent } = connection;
    const atUs = this.#world.nowUs + this.#delay(from, to, latePercent);
    connection.requestsAtUs = Math.max(connection.requestsAtUs, atUs);
    const arrive = this.#track({ from, to, message }, () => {
      if (!connection.isLost) deliver();
    });
    this.#deliver({ connection, link: from * 16 + to, atUs: connection.requestsAtUs }, arrive);
  }

  toHead(connection: Connection, message: InFlight['message'], deliver: () => void): void {
    const { from, to, latePercent } = connection;
    const atUs = this.#world.nowUs + this.#delay(to, from, latePercent);
    connection.answersAtUs = Math.max(connection.answersAtUs, atUs);
    const arrive = this.#track({ from: to, to: from, message }, deliver);
    this.#deliver({ connection, link: to * 16 + from, atUs: connection.answersAtUs }, arrive);
  }

  #track(sent: InFlight, deliver: () => void): () => void {
    const { inFlight } = this;
    if (inFlight === undefined) return deliver;
    inFlight.add(sent);
    return () => {
      inFlight.delete(sent);
      deliver();
    };
  }

  /** Directed links that are cut. */
  get cutLinks(): Iterable<number> {
    return this.#cut;
  }

  cut(from: number, to: number): void {
    if (from !== to) this.#cut.add(from * 16 + to);
  }

  /** All links are whole: what was held arrives, in its order. */
  heal(): void {
    this.#cut.clear();
    const delays = new Map<number, number>();
    for (const { link, run } of this.#held.splice(0)) {
      // Less than what is sent from now on takes.
      const delayUs = delays.get(link) ?? this.#world.prng.below(NEXT_US);
      delays.set(link, delayUs);
      this.#world.schedule(delayUs, run);
    }
  }

  #isCut(from: number, to: number): boolean {
    return this.#cut.has(from * 16 + to);
  }

  #deliver(
    at: { readonly connection: Connection; readonly link: number; readonly atUs: number },
    deliver: () => void,
  ): void {
    const { connection, link, atUs } = at;
    const world = this.#world;
    world.schedule(atUs - world.nowUs, () => {
      const { strayUntilUs } = connection;
      if (strayUntilUs > world.nowUs)
        this.#deliver({ connection, link, atUs: strayUntilUs }, deliver);
      else if (this.#cut.has(link)) this.#held.push({ link, run: deliver });
      else deliver();
    });
  }

  #delay(from: number, to: number, latePercent = LATE_PERCENT): number {
    const { prng } = this.#world;
    if (from === to) return 2 + prng.below(8);
    return prng.chance(latePercent) ? 1000 + prng.below(20_000) : NEXT_US + prng.below(200);
  }
}

/** The sender reuses its own. */
export function copyRequest(request: Request): Request {
  return Object.assign(new Request(), request);
}

export function copyAnswer(answer: Answer): Answer {
  return Object.assign(new Answer(), answer);
}
