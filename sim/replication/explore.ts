/**
 * The small scope, in all its histories: 3 replicas, 2 writers, 3 writes and a flush, and a few faults at every place where they make a
 * difference (docs/replication.md, "Checked"). The code is the real one; each history is run from its beginning, by its choices.
 *
 * What keeps the number small: a crash or a partition of a node is tried only directly before a step of that node, as it commutes with
 * steps of others; a takeover before steps of the head's. Messages and requests to drives come in the order in which they were sent but
 * for `late` of them, which come after everything that is then under way. Time passes only when nothing is. A history ends where another
 * one was in the same state with as many faults left; states are told apart by everything but how late it is (fingerprint.ts).
 */

import { Prng } from '../../src/lib/prng.ts';
import { World } from '../world.ts';
import { Choices } from './choices.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { mend } from './faults.ts';
import { Fingerprint } from './fingerprint.ts';
import { Requests } from './requests.ts';
import type { Asked } from './scenario.ts';
import type { SimEngine, Step } from './sim-engine.ts';
import { StateSet } from './state-set.ts';

/** How many of each a history has at most. */
export type Scope = {
  readonly crashes: number;
  readonly partitions: number;
  readonly takeovers: number;
  /** Messages and requests to drives that come late. */
  readonly late: number;
};

const NODES = 3;
const SCRIPT: readonly Asked[] = [
  { kind: 'write', firstBlock: 0, count: 2, fua: false, atUs: 0 },
  { kind: 'write', firstBlock: 1, count: 2, fua: false, atUs: 0 },
  { kind: 'flush', firstBlock: 0, count: 0, fua: false, atUs: 0 },
  { kind: 'write', firstBlock: 15, count: 2, fua: false, atUs: 0 },
];
const OPTIONS: ClusterOptions = {
  nodeCount: NODES,
  replicaCount: NODES,
  blockCount: 32,
  sizeBlocks: 32,
  depth: 2,
  thinkUs: 5,
  stallLimitMs: 600_000,
};
/** A process that was killed is back before it is missed, a machine after that. */
const RESTART_US = 5000;
const REBOOT_US = 2_000_000;
/** Longer than a member is waited for. */
const PARTITION_US = 2_500_000;
const FLUSH_US = 1_500_000;
const LIMIT_US = 60_000_000;
/** After the last fault it is looked for so long whether another history came to the same. */
const STEPS_AFTER = 16;

/** Of a crash: what was under way to the drive, or only in its cache, is there afterwards or is not. */
type Crash = { readonly loses: 'process' | 'power'; readonly isKept: boolean };
const CRASHES: readonly Crash[] = [
  { loses: 'process', isKept: true },
  { loses: 'process', isKept: false },
  { loses: 'power', isKept: true },
  { loses: 'power', isKept: false },
];

/** Nothing is random: what is rare is a choice. */
class ChosenPrng extends Prng {
  readonly #choices: Choices;
  #late: number;
  /** What every chance gives, while a machine crashes. */
  coin: boolean | undefined;

  constructor(choices: Choices, late: number) {
    super(1);
    this.#choices = choices;
    this.#late = late;
  }

  override below(bound: number): number {
    return bound >> 1;
  }

  override chance(percent: number): boolean {
    if (this.coin !== undefined) return this.coin;
    if (percent <= 0 || percent >= 50 || this.#late === 0) return false;
    const isLate = this.#choices.choose(2) === 1;
    if (isLate) this.#late--;
    return isLate;
  }
}

class ChosenWorld extends World {
  override readonly prng: ChosenPrng;

  constructor(choices: Choices, { late, onTrace }: Scope & Tracing) {
    super(1, onTrace);
    this.prng = new ChosenPrng(choices, late);
  }
}

type Tracing = { readonly onTrace?: ((line: string) => void) | undefined };

export type HistoryOptions = Scope & Tracing & { readonly known?: StateSet | undefined };

/** From here on everything is as in an earlier history. */
export class Known extends Error {}

/** One history, by its choices. */
class ChosenHistory {
  readonly #cluster: Cluster;
  readonly #world: ChosenWorld;
  readonly #choices: Choices;
  readonly #left: { -readonly [Kind in keyof Scope]: Scope[Kind] };
  /** States in which an earlier history went on; undefined: this one runs to its end. */
  readonly #known: StateSet | undefined;
  readonly #fingerprint: Fingerprint;
  #isOffered = false;
  /** Since the last fault that the scope has. */
  #stepsAfter = 0;

  constructor(choices: Choices, options: HistoryOptions) {
    this.#choices = choices;
    this.#world = new ChosenWorld(choices, options);
    this.#left = { ...options };
    this.#known = options.known;
    this.#cluster = new Cluster(this.#world, OPTIONS, new Requests(SCRIPT));
    this.#fingerprint = new Fingerprint(this.#cluster);
    this.#cluster.onStep = (engine, what) => {
      // When a grant is renewed makes no difference: time.
      if (typeof what !== 'object' || what.kind !== 'renew') this.#offer(engine, what);
      if (engine.isRunning) this.#fingerprint.onStep(engine.node, what);
    };
  }

  /** Resolves with what there is at its end, see {@link endOf}. Throws a Violation, or {@link Known}. */
  async run(): Promise<string> {
    const cluster = this.#cluster;
    const world = this.#world;
    await world.run(() => cluster.client !== undefined, 'the volume is served', LIMIT_US);
    this.#isOffered = true;
    await world.run(() => cluster.isWhole, 'all is answered and all are members', LIMIT_US);
    for (const engine of cluster.engines) this.#offer(engine, 'nothing');
    this.#isOffered = false;
    mend(cluster);
    await world.run(() => cluster.isWhole, 'all replicas are members again', LIMIT_US);
    // The head flushes by itself.
    await world.sleep(FLUSH_US);
    cluster.checks.everySoOften();
    cluster.checks.onServing(cluster.serving!);
    return endOf(cluster);
  }

  /** Something may happen before the next step of `engine`. */
  #offer(engine: SimEngine, what: Step): void {
    if (!this.#isOffered) return;
    this.#cluster.checks.everySoOften();
    const faults = this.#possible(engine);
    const { crashes, partitions, takeovers } = this.#left;
    if (crashes + partitions + takeovers === 0) this.#stepsAfter++;
    if (faults.length > 0 || this.#stepsAfter <= STEPS_AFTER) this.#lookUp(engine, what);
    if (faults.length === 0) return;
    faults[this.#choices.choose(1 + faults.length) - 1]?.();
  }

  #lookUp(engine: SimEngine, what: Step): void {
    if (this.#known === undefined || this.#choices.isRepeated) return;
    const { crashes, partitions, takeovers, late } = this.#left;
    const more = `${engine.node} ${crashes} ${partitions} ${takeovers} ${late}`;
    if (!this.#known.add(this.#fingerprint.of(more, what))) throw new Known();
  }

  #possible(engine: SimEngine): (() => void)[] {
    const cluster = this.#cluster;
    const left = this.#left;
    const faults: (() => void)[] = [];
    if (left.crashes > 0 && engine.isRunning) {
      for (const how of crashesOf(engine)) {
        faults.push(() => {
          left.crashes--;
          this.#crash(engine, how);
        });
      }
    }
    if (left.partitions > 0) {
      faults.push(() => {
        left.partitions--;
        this.#partition(engine);
      });
    }
    if (left.takeovers > 0 && (engine === cluster.serving || engine.node === cluster.wantedNode)) {
      for (let by = 1; by < NODES; by++) {
        faults.push(() => {
          left.takeovers--;
          cluster.wantedNode = (cluster.wantedNode + by) % NODES;
          this.#world.trace(`the volume is moved to node ${cluster.wantedNode}`);
          cluster.settle();
        });
      }
    }
    return faults;
  }

  #crash(engine: SimEngine, { loses, isKept }: Crash): void {
    const world = this.#world;
    world.trace(
      `node ${engine.node} loses its ${loses}, and ${isKept ? 'keeps' : 'loses'} what was under way`,
    );
    world.prng.coin = isKept;
    if (loses === 'power') this.#cluster.losePower(engine);
    else this.#cluster.kill(engine);
    world.prng.coin = undefined;
    this.#fingerprint.onKilled(engine.node);
    world.schedule(loses === 'power' ? REBOOT_US : RESTART_US, () => engine.startProcess());
  }

  #partition({ node }: SimEngine): void {
    const { engines, network } = this.#cluster;
    this.#world.trace(`node ${node} is cut off`);
    for (const other of engines) {
      network.cut(node, other.node);
      network.cut(other.node, node);
    }
    this.#world.schedule(PARTITION_US, () => network.heal());
  }
}

/** Those that differ: without anything under way or in the cache nothing can be lost. */
function crashesOf({ content, media }: SimEngine): readonly Crash[] {
  const isBusy = (content?.coming.length ?? 0) > 0;
  return CRASHES.filter(
    ({ loses, isKept }) => isKept || isBusy || (loses === 'power' && media.isVolatile),
  );
}

/** What the drives hold and who is in S: told without the fingerprints by which histories are cut short, which it is to check. */
function endOf({ engines, store }: Cluster): string {
  const drives = engines.map(
    ({ media }) => `${media.taken.blocks.join()} ${media.durable.blocks.join()}`,
  );
  return [...drives, [...store.record.members.keys()].toSorted().join()].join('\n');
}

/** Runs the history of `choices`. Resolves with what there is at its end; throws a Violation, or {@link Known}. */
export function runHistory(choices: Choices, options: HistoryOptions): Promise<string> {
  return new ChosenHistory(choices, options).run();
}

export type Exploration = {
  /** Run to their end, or to a state that an earlier one had been in. */
  readonly histories: number;
  /** How many of them ended in such a state. */
  readonly known: number;
  /** Different states in which all was over. */
  readonly ends: ReadonlySet<string>;
  /** Different ones, at places where something might have happened and shortly after the last fault. */
  readonly states: number;
  /** Undefined: all were run. */
  readonly failure: { readonly choices: string; readonly error: unknown } | undefined;
};

/** How far an exploration is. */
export type Progress = Pick<Exploration, 'histories' | 'known' | 'states'> & {
  /** Where the first fault is that is tried now: it goes down to 0. */
  readonly firstFault: number;
  /** What to go on from. */
  readonly next: string;
};

/** Runs all histories of `scope` from `choices` on. `onProgress` after each thousand. */
export async function explore(
  scope: Scope,
  {
    choices = new Choices(),
    isWhole = false,
    onProgress,
  }: {
    readonly choices?: Choices;
    /** Every history is run to its end, also from states that are known. */
    readonly isWhole?: boolean;
    readonly onProgress?: (progress: Progress) => void;
  } = {},
): Promise<Exploration> {
  const states = new StateSet();
  const ends = new Set<string>();
  let known = 0;
  for (let histories = 1; ; histories++) {
    const counts = { histories, known, ends };
    try {
      ends.add(await runHistory(choices, { ...scope, known: isWhole ? undefined : states }));
    } catch (error) {
      if (!(error instanceof Known)) {
        const failure = { choices: choices.toString(), error };
        return { ...counts, states: states.size, failure };
      }
      known++;
    }
    if (!choices.advance()) return { ...counts, known, states: states.size, failure: undefined };
    if (histories % 1000 === 0) {
      const { firstChosen: firstFault } = choices;
      onProgress?.({ histories, known, states: states.size, firstFault, next: choices.toString() });
    }
  }
}
