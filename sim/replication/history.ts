/** One history: a cluster, requests, faults; then everything is mended, and all must end well. */

import { assert } from '../../src/lib/assert.ts';
import { UsageError } from '../../src/lib/count-option.ts';
import { Prng } from '../../src/lib/prng.ts';
import type { Head } from '../../src/replication/head.ts';
import { Violation, World } from '../world.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { Fate, SET_CHANGES_MIN, isKnown, strike } from './fate.ts';
import type { Mood } from './fault.ts';
import { mend } from './faults.ts';
import { Requests } from './requests.ts';
import { type Scenario, type Struck, isFault, isRequest } from './scenario.ts';

export type HistoryOptions = {
  readonly requestCount?: number;
  readonly onTrace?: ((line: string) => void) | undefined;
};

/** What each history has at least. */
const REQUESTS = 2000;
const FAULTS_MIN = 10;
/** Virtual time in which everything must have ended once all is mended. */
const END_LIMIT_US = 60_000_000;

/** A promise that was not kept. */
export type Failure = {
  /** Which one: two failures of one rule are taken to be one. */
  readonly rule: string;
  /** With the stack. */
  readonly message: string;
};

export class History {
  readonly seed: number;
  readonly cluster: Cluster;
  /** Whether all is asked and has happened. */
  readonly #isOver: () => boolean;
  readonly #struck: readonly Struck[];

  private constructor(
    seed: number,
    {
      cluster,
      isOver,
      struck,
    }: {
      readonly cluster: Cluster;
      readonly isOver: () => boolean;
      readonly struck: readonly Struck[];
    },
  ) {
    this.seed = seed;
    this.cluster = cluster;
    this.#isOver = isOver;
    this.#struck = struck;
    cluster.network.slowPercent = 10;
  }

  /** That of `seed`. Nothing in it depends on how it is drawn: the scenario of what was drawn is the same history. */
  static ofSeed(seed: number, { requestCount = REQUESTS, onTrace }: HistoryOptions = {}): History {
    // Not from the generator of the world: what is left out of a scenario takes nothing from it.
    const prng = new Prng(2 ** 32 + seed);
    const nodeCount = 3 + prng.below(3);
    const options: ClusterOptions = {
      nodeCount,
      replicaCount: Math.min(nodeCount, prng.pick([1, 2, 2, 3, 3, 3, 3, 4, 5])),
      blockCount: 400,
      sizeBlocks: prng.pick([24, 40, 136, 360, 360]),
      depth: prng.pick([1, 4, 12]),
      thinkUs: prng.pick([5, 5, 5, 4000]),
      stallLimitMs: prng.pick([1600, 1600, 600_000]),
    };
    const requests = new Requests(new Prng(2 ** 33 + seed), {
      count: requestCount,
      hotPercent: prng.pick([0, 30, 70]),
      flushPercent: prng.pick([3, 10, 40, 40]),
    });
    const cluster = new Cluster(new World(seed, onTrace), options, requests);
    const mood = prng.pick<Mood>(['any', 'any', 'churn', 'takeover']);
    const fate = new Fate(cluster, { prng, mood, faultCount: mood === 'any' ? 12 : 24 });
    const isOver = (): boolean => {
      if (!fate.isOver) return false;
      assert(fate.struck.length >= FAULTS_MIN, 'a history has faults');
      assert(cluster.setChanges >= SET_CHANGES_MIN, 'a history changes the set');
      return true;
    };
    return new History(seed, { cluster, isOver, struck: fate.struck });
  }

  /** Throws a {@link UsageError} where it has a fault that there is not. */
  static ofScenario(scenario: Scenario, { onTrace }: HistoryOptions = {}): History {
    const { seed, steps } = scenario;
    const requests = new Requests(steps.filter(isRequest));
    const faults = steps.filter(isFault);
    const unknown = faults.find((fault) => !isKnown(fault));
    if (unknown !== undefined) throw new UsageError(`There is no fault "${unknown.name}"`);
    const cluster = new Cluster(new World(seed, onTrace), scenario.cluster, requests);
    const struck: Struck[] = [];
    for (const fault of faults) {
      cluster.world.schedule(fault.atUs, () => {
        struck.push(fault);
        strike(cluster, fault);
      });
    }
    const isOver = (): boolean => requests.left === 0 && struck.length === faults.length;
    return new History(seed, { cluster, isOver, struck });
  }

  /** What was asked and happened so far. */
  get scenario(): Scenario {
    const steps = [...this.cluster.requests.asked, ...this.#struck].toSorted(
      (a, b) => a.atUs - b.atUs,
    );
    return { seed: this.seed, cluster: this.cluster.options, steps };
  }

  /** Runs it, once. Resolves with what it broke. */
  async run(): Promise<Failure | undefined> {
    try {
      await this.#run();
      return undefined;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const rule = error instanceof Violation ? error.rule : error.message;
      return { rule, message: error.stack ?? error.message };
    }
  }

  async #run(): Promise<void> {
    const { cluster } = this;
    const { world } = cluster;
    try {
      await world.run(this.#isOver, 'the requests are asked', 600_000_000);
      keepMended(cluster);
      await world.run(() => cluster.isWhole, 'all replicas are members again', END_LIMIT_US);
      await scrub(cluster);
      cluster.checks.onScrubbed();
    } catch (error) {
      for (const line of cluster.describe()) world.trace(line);
      throw error;
    }
    // Long enough for the head to flush by itself.
    await world.sleep(2_500_000);
    cluster.checks.everySoOften();
    cluster.checks.onServing(cluster.serving!);
  }
}

/** Also what is lost only then, as S shrinks to a member with a bad block. */
function keepMended(cluster: Cluster): void {
  mend(cluster);
  cluster.world.schedule(5_000_000, () => {
    if (!cluster.isWhole) keepMended(cluster);
  });
}

/** All of it, by one head: one that is overtaken meanwhile does not end. */
async function scrub(cluster: Cluster): Promise<void> {
  let scrubbing: Head | undefined;
  const isScrubbed = (): boolean => {
    const head = cluster.serving?.head;
    if (head !== scrubbing) head?.startScrub({ offsetBytes: 0, bytesPerSecond: 1e9 });
    scrubbing = head;
    return head?.scrub?.isDone === true && cluster.isWhole;
  };
  await cluster.world.run(isScrubbed, 'the volume is scrubbed', END_LIMIT_US);
}
