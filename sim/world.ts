/**
 * A seeded world: virtual time, one queue of events, one generator. Async code runs unchanged in it: promise jobs run in a
 * fixed order, and all that could differ (I/O, time, randomness) comes from here.
 */

import { Prng } from '../src/lib/prng.ts';

/** Something that will happen, until it is cancelled. */
export type Happening = {
  readonly atUs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
};

/** What a run of the simulator found: the program (or the model of it) broke a rule. */
export class Violation extends Error {
  override name = 'Violation';
  readonly rule: string;

  constructor(rule: string, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

/** Promise jobs of one turn: a chain longer than this is a loop. */
const SETTLE_ROUNDS_MAX = 10_000;

export class World {
  readonly prng: Prng;
  nowUs = 0;
  #order = 0;
  /** A binary heap by (atUs, order). */
  readonly #heap: Happening[] = [];
  #settleAsked = false;
  #violation: { readonly error: unknown } | undefined;
  readonly #afterSettle = new Set<() => void>();
  /** Called for each traced line; undefined: no trace. */
  readonly onTrace: ((line: string) => void) | undefined;

  constructor(seed: number, onTrace?: (line: string) => void) {
    this.prng = new Prng(seed);
    this.onTrace = onTrace;
  }

  /** Records the first violation where none may be thrown: inside the program under test. {@link run} throws it. */
  violate(error: unknown): void {
    this.#violation ??= { error };
    this.askToSettle();
  }

  trace(line: string): void {
    this.onTrace?.(`${(this.nowUs / 1000).toFixed(3).padStart(12)} ms  ${line}`);
  }

  /** Lets `run` happen `delayUs` from now; of two at the same instant the first scheduled is first. */
  schedule(delayUs: number, run: () => void): Happening {
    const atUs = this.nowUs + delayUs;
    const happening = { atUs, order: this.#order++, run, cancelled: false };
    const heap = this.#heap;
    heap.push(happening);
    for (let at = heap.length - 1; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at]!, heap[parent]!)) break;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
    return happening;
  }

  /** Promise jobs run before the next event. */
  askToSettle(): void {
    this.#settleAsked = true;
  }

  /** `hook` runs after promise jobs ran, as a reactor's hooks do after the runtime had its turn. */
  onSettled(hook: () => void): void {
    this.#afterSettle.add(hook);
  }

  offSettled(hook: () => void): void {
    this.#afterSettle.delete(hook);
  }

  /** Runs events until `until` holds; throws a liveness violation where nothing is left to happen, or `limitUs` passed. */
  async run(until: () => boolean, what: string, limitUs = 120_000_000): Promise<void> {
    const deadlineUs = this.nowUs + limitUs;
    await this.settle();
    while (!until()) {
      const next = this.#pop();
      if (next === undefined) throw new Violation('liveness', `nothing is left to happen: ${what}`);
      if (next.atUs > deadlineUs) {
        throw new Violation('liveness', `no end after ${limitUs / 1e6} s of virtual time: ${what}`);
      }
      this.nowUs = Math.max(this.nowUs, next.atUs);
      next.run();
      if (this.#settleAsked) await this.settle();
      if (this.#violation !== undefined) throw this.#violation.error;
    }
    if (this.#violation !== undefined) throw this.#violation.error;
  }

  /** Runs events until `promise` is settled, and returns its value or throws its reason. */
  async await<T>(promise: Promise<T>, what: string): Promise<T> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    await this.run(() => done, what);
    return promise;
  }

  /** Time passes for `delayUs`. */
  async sleep(delayUs: number): Promise<void> {
    let over = false;
    this.schedule(delayUs, () => {
      over = true;
    });
    await this.run(() => over, 'a pause');
  }

  /** Runs the promise jobs that wait. */
  async settle(): Promise<void> {
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      this.#settleAsked = false;
      // An immediate runs after every promise job.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      for (const hook of this.#afterSettle) hook();
      if (!this.#settleAsked) return;
    }
    throw new Violation('liveness', 'promise jobs ask for further ones without end');
  }

  #pop(): Happening | undefined {
    for (;;) {
      const top = this.#heap[0];
      const last = this.#heap.pop();
      if (top === undefined || last === undefined) return undefined;
      if (top !== last) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (!top.cancelled) return top;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}
