/** Runs seeds one after the other, and counts what they reached. */

import fs from 'node:fs';
import { type Failure, History } from './history.ts';
import { formatScenario, isFault, parseScenario } from './scenario.ts';
import { shrink } from './shrink.ts';

/** What came of some seeds. */
export type SeedsResult = {
  readonly first: number;
  readonly count: number;
  readonly failures: readonly SeedFailure[];
  /** Milliseconds of the median seed. */
  readonly medianMs: number;
  /** How often what happened. */
  readonly counts: readonly (readonly [what: string, times: number])[];
};

export type SeedFailure = Failure & { readonly seed: number };

export type SeedsOptions = {
  readonly first: number;
  readonly count: number;
  /** After a failure go on with the next seed. */
  readonly keepGoing?: boolean;
  readonly onTrace?: ((line: string) => void) | undefined;
};

export async function runSeeds(options: SeedsOptions): Promise<SeedsResult> {
  const { first, count, onTrace } = options;
  const counts = new Map<string, number>();
  const failures: SeedFailure[] = [];
  const millis: number[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const startedAt = performance.now();
    const history = History.ofSeed(seed, { onTrace });
    const failure = await history.run();
    for (const [what, times] of history.cluster.counts) {
      counts.set(what, (counts.get(what) ?? 0) + times);
    }
    millis.push(performance.now() - startedAt);
    if (failure === undefined) continue;
    failures.push({ seed, ...failure });
    if (options.keepGoing !== true) break;
  }
  const medianMs = millis.toSorted((a, b) => a - b)[Math.floor(millis.length / 2)] ?? 0;
  return { first, count: millis.length, failures, medianMs, counts: [...counts] };
}

/** Runs a scenario as a file has it. Throws a `UsageError` where it is none. */
export function replayScenario(
  text: string,
  onTrace?: (line: string) => void,
): Promise<Failure | undefined> {
  return History.ofScenario(parseScenario(text), { onTrace }).run();
}

/** Writes the smallest scenario of a seed that fails to `file`; resolves with what to tell. */
export async function saveSmallest(failed: SeedFailure, file: string): Promise<string> {
  const { seed, rule, message } = failed;
  const history = History.ofSeed(seed);
  await history.run();
  const { scenario } = history;
  const small = await shrink(scenario, rule);
  const kept = small ?? scenario;
  fs.writeFileSync(file, formatScenario(kept, message.split('\n')[0] ?? rule));
  const faults = kept.steps.filter(isFault).length;
  return `Seed ${seed} with ${faults} of ${scenario.steps.filter(isFault).length} faults and ${kept.steps.length - faults} of ${history.cluster.requests.asked.length} requests is in "${file}"`;
}
