/** Runs seeds one after the other, and says what they found. */

import { DriveSim } from './drive-sim.ts';
import { FOCUSES, drawPlan, type Focus } from './focus.ts';
import type { StoreUnderTest } from './store-under-test.ts';
import { World } from './world.ts';

export type Failure = { readonly seed: number; readonly message: string; readonly stack: string };
export type Outcome = {
  readonly seeds: number;
  readonly requests: number;
  readonly crashes: number;
  readonly refused: number;
  readonly failures: readonly Failure[];
};

/** Between two lines of progress. */
const PROGRESS_MS = 5000;

export async function runSeeds(
  store: StoreUnderTest,
  options: {
    /** `every`: each seed has the next of all focuses. */
    readonly focus: Focus | 'every';
    readonly firstSeed: number;
    readonly seedCount: number;
    readonly seconds: number;
    readonly trace: boolean;
    /** After a failure go on with the next seed. */
    readonly keepGoing: boolean;
    readonly print: (line: string) => void;
  },
): Promise<Outcome> {
  const total = { seeds: 0, requests: 0, crashes: 0, refused: 0 };
  const failures: Failure[] = [];
  const startMs = performance.now();
  let progressMs = startMs + PROGRESS_MS;
  const elapsed = (): number => (performance.now() - startMs) / 1000;
  options.print(`seed ${options.firstSeed} (focus ${options.focus}, ${store.name})`);
  for (
    let seed = options.firstSeed;
    total.seeds < options.seedCount && elapsed() < options.seconds;
    seed++
  ) {
    const focus = options.focus === 'every' ? focusOf(seed) : options.focus;
    try {
      const summary = await runSeed(store, seed, { ...options, focus });
      total.requests += summary.requests;
      total.crashes += summary.crashes;
      if (summary.refused) total.refused++;
    } catch (error) {
      const failure = describe(seed, error);
      failures.push(failure);
      options.print(
        `SEED ${seed} FAILED  node sim/main.ts --seed ${seed} --focus ${focus}\n  ${failure.message}`,
      );
      if (!options.keepGoing) {
        options.print(failure.stack);
        break;
      }
    }
    total.seeds++;
    if (performance.now() > progressMs) {
      progressMs += PROGRESS_MS;
      options.print(`  ${total.seeds} seeds, ${(total.seeds / elapsed()).toFixed(0)}/s`);
    }
  }
  options.print(
    `${total.seeds} seeds, ${total.requests} requests, ${total.crashes} crashes, ${total.refused} drives refused after a fault, ` +
      `${failures.length} failures, ${elapsed().toFixed(1)} s, ${(total.seeds / elapsed()).toFixed(1)} seeds/s`,
  );
  return { ...total, failures };
}

const focusOf = (seed: number): Focus => FOCUSES[seed % FOCUSES.length] ?? 'any';

export async function runSeed(
  store: StoreUnderTest,
  seed: number,
  options: {
    readonly focus: Focus;
    readonly trace: boolean;
    readonly print: (line: string) => void;
  },
): ReturnType<DriveSim['run']> {
  const world = new World(seed, options.trace ? options.print : undefined);
  const onRejection = (error: unknown): void => world.violate(error);
  process.on('unhandledRejection', onRejection);
  const plan = drawPlan(world.prng, store, options.focus);
  if (options.trace) options.print(JSON.stringify(plan));
  try {
    return await new DriveSim(world, store, plan).run();
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}

function describe(seed: number, error: unknown): Failure {
  if (!(error instanceof Error)) return { seed, message: String(error), stack: '' };
  return { seed, message: `${error.name}: ${error.message}`, stack: error.stack ?? '' };
}
