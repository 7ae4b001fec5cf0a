/** Makes a failing scenario as small as it can be: what can be left out while it still fails tells nothing. */

import { History } from './history.ts';
import { type Scenario, type Step, isFault, isRequest } from './scenario.ts';

/** Some minutes: most scenarios are small long before. */
const RUNS_MAX = 3000;
/** Without a step all that comes later is otherwise: what a scenario needs of chance is looked for so often. */
const TRIES = 3;

/** Resolves with the smallest that was found in `runsMax` runs and breaks `rule`; undefined: `scenario` itself does not. */
export async function shrink(
  scenario: Scenario,
  rule: string,
  runsMax = RUNS_MAX,
): Promise<Scenario | undefined> {
  const shrinker = new Shrinker(scenario, { rule, runsMax });
  return (await shrinker.run()) ? shrinker.smallest : undefined;
}

class Shrinker {
  smallest: Scenario;
  readonly #rule: string;
  #runsLeft: number;

  constructor(
    scenario: Scenario,
    { rule, runsMax }: { readonly rule: string; readonly runsMax: number },
  ) {
    this.smallest = scenario;
    this.#rule = rule;
    this.#runsLeft = runsMax;
  }

  async run(): Promise<boolean> {
    if (!(await this.#fails(this.smallest))) return false;
    let before: number;
    do {
      before = this.smallest.steps.length;
      await this.#leaveOut(isFault);
      await this.#leaveOut(isRequest);
      await this.#makeSimple();
    } while (this.smallest.steps.length < before);
    return true;
  }

  /** Parts of the steps, then smaller ones. */
  async #leaveOut(isOf: (step: Step) => boolean): Promise<void> {
    const count = this.smallest.steps.filter(isOf).length;
    for (let size = Math.ceil(count / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; ;) {
        const { steps } = this.smallest;
        const part = new Set(steps.filter(isOf).slice(at, at + size));
        if (part.size === 0) break;
        const without = { ...this.smallest, steps: steps.filter((step) => !part.has(step)) };
        if (!(await this.#fails(without))) at += size;
      }
    }
  }

  /** Fewer nodes and replicas, one request at a time, of one block. */
  async #makeSimple(): Promise<void> {
    const { cluster, steps } = this.smallest;
    const { nodeCount, replicaCount } = cluster;
    await this.#fails({
      ...this.smallest,
      steps: steps.map((step) =>
        isRequest(step) && step.count > 1 ? { ...step, count: 1 } : step,
      ),
    });
    for (const simpler of [
      { depth: 1 },
      { nodeCount: nodeCount - 1, replicaCount: Math.min(replicaCount, nodeCount - 1) },
      { replicaCount: replicaCount - 1 },
    ]) {
      const { smallest } = this;
      const options = { ...smallest.cluster, ...simpler };
      if (options.replicaCount > 0) await this.#fails({ ...smallest, cluster: options });
    }
  }

  /** Whether it breaks the rule; then it is the smallest, without what comes after that. */
  async #fails(scenario: Scenario): Promise<boolean> {
    for (let more = 0; more < TRIES && this.#runsLeft > 0; more++) {
      this.#runsLeft--;
      const history = History.ofScenario({ ...scenario, seed: scenario.seed + more });
      const failure = await history.run();
      if (failure?.rule !== this.#rule) continue;
      this.smallest = history.scenario;
      return true;
    }
    return false;
  }
}
