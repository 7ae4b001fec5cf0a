/** Metadata pages for code that awaits. */

import { assert } from '../lib/assert.ts';
import { Fault } from '../model/errors.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';

/** Loads that may wait at once. */
const WAITER_COUNT = 64;

export class PageLoader {
  static readonly waiterCount: number = WAITER_COUNT;
  readonly #media: Media;
  readonly #firstWaiter: number;
  /** By waiter: what ends its wait. */
  readonly #waiting: ((() => void) | undefined)[] = [];
  /** Those for whom no waiter was free. */
  readonly #queue: (() => void)[] = [];
  readonly #free: number[] = [];
  #cache: PageCache | undefined;

  /** Its waiters are numbered from `firstWaiter` on. */
  constructor(media: Media, firstWaiter: number) {
    this.#media = media;
    this.#firstWaiter = firstWaiter;
    for (let index = 0; index < WAITER_COUNT; index++) this.#free.push(index);
  }

  start(cache: PageCache): void {
    this.#cache = cache;
  }

  onReady(waiter: number): void {
    const index = waiter - this.#firstWaiter;
    const over = this.#waiting[index];
    this.#waiting[index] = undefined;
    this.#free.push(index);
    this.#media.io.yieldTurn();
    over?.();
    this.#queue.shift()?.();
  }

  /** Resolves with the arena address of `page`, valid until the next await. Rejects with a Fault when neither copy can be had. */
  async load(page: number): Promise<number> {
    const cache = this.#cache;
    assert(cache !== undefined, 'the loader was started');
    for (;;) {
      const found = cache.find(page);
      if (typeof found === 'number') return found;
      if (found === 'rotten') throw unreadable(page);
      const index = this.#free.pop();
      if (index === undefined) {
        await new Promise<void>((resolve) => this.#queue.push(resolve));
        continue;
      }
      await new Promise<void>((resolve, reject) => {
        // A page that could not be read is known as such only now: who looks later has the drive asked again.
        this.#waiting[index] = () => {
          if (cache.find(page) === 'rotten') reject(unreadable(page));
          else resolve();
        };
        cache.wait(page, this.#firstWaiter + index);
      });
    }
  }
}

function unreadable(page: number): Fault {
  return new Fault('DRIVE_CORRUPT', {
    problem: `metadata page ${page} is rotten, or cannot be read, in both copies`,
  });
}
