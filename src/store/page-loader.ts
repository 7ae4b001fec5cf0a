/** Metadata pages for code that awaits. */

import { Fault } from '../model/errors.ts';
import type { Media } from './media.ts';
import type { PageCache } from './page-cache.ts';

/** Loads that may wait at once. */
const WAITER_COUNT = 64;

export class PageLoader {
  static readonly waiterCount: number = WAITER_COUNT;
  readonly #media: Media;
  readonly #firstWaiter: number;
  readonly #resolvers: ((() => void) | undefined)[] = [];
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
    const resolve = this.#resolvers[index];
    this.#resolvers[index] = undefined;
    this.#free.push(index);
    this.#media.io.yieldTurn();
    resolve?.();
  }

  /** Resolves with the arena address of `page`, valid until the next await. Rejects with a Fault when both copies are rotten. */
  async load(page: number): Promise<number> {
    for (;;) {
      const found = this.#cache?.find(page);
      if (typeof found === 'number') return found;
      if (found === 'rotten') {
        throw new Fault('DRIVE_CORRUPT', {
          problem: `metadata page ${page} is rotten in both copies`,
        });
      }
      const index = this.#free.pop();
      if (index === undefined) {
        await new Promise((resolve) => this.#queue.push(resolve));
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#resolvers[index] = () => {
          this.#queue.shift()?.(undefined);
          resolve();
        };
        this.#cache?.wait(page, this.#firstWaiter + index);
      });
    }
  }
  readonly #queue: ((value: unknown) => void)[] = [];
}
