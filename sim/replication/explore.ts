/**
 * The small scope, in all its histories: 3 replicas, 2 writers, 3 writes and a flush, and a few faults at every place where they make a
 * difference (docs/replication.md, "Checked"). The code is the real one; each history is run from its beginning, by its choices.
 *
 * What keeps the number small: a crash or a partition of a node is tried only directly before a step of that node, as it commutes with
 * steps of others; a takeover before steps of the head's. Messages and requests to drives come in the order in which they were sent but
 * for `late` of them, which come after everything that is then under way. Time passes only when nothing is.
 */

import { Prng } from '../../src/lib/prng.ts';
import { World } from '../world.ts';
import { Choices } from './choices.ts';
import { Cluster } from './cluster.ts';
import { mend } from './faults.ts';
import type { Drawn } from './sim-client.ts';
import type { SimEngine } from './sim-engine.ts';

/** How many of each a history has at most. */
export type Scope = {
  readonly crashes: number;
  readonly partitions: number;
  readonly takeovers: number;
  /** Messages and requests to drives that come late. */
  readonly late: number;
};

const NODES = 3;
const SCRIPT: readonly Drawn[] = [
  { kind: 'write', firstBlock: 0, count: 2 },
  { kind: 'write', firstBlock: 1, count: 2 },
  { kind: 'flush', firstBlock: 0, count: 0 },
  { kind: 'write', firstBlock: 15, count: 2 },
];
/** A process that was killed is back before it is missed, a machine after that. */
const RESTART_US = 5000;
const REBOOT_US = 2_000_000;
/** Longer than a member is waited for. */
const PARTITION_US = 2_500_000;
const FLUSH_US = 1_500_000;
const LIMIT_US = 60_000_000;

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

/** Runs the history of `choices`; throws a Violation. */
export async function runHistory(choices: Choices, options: Scope & Tracing): Promise<void> {
  const world = new ChosenWorld(choices, options);
  const cluster = new Cluster(world, {
    nodeCount: NODES,
    replicaCount: NODES,
    blockCount: 32,
    sizeBlocks: 32,
    requestCount: SCRIPT.length,
    depth: 2,
    hotPercent: 0,
    flushPercent: 0,
    thinkUs: 5,
    stallLimitMs: 600_000,
    script: SCRIPT,
  });
  const left = { ...options };
  let isOffered = false;
  const offer = (engine: SimEngine): void => {
    if (!isOffered) return;
    cluster.checks.everySoOften();
    const isHead = engine === cluster.serving || engine.node === cluster.wantedNode;
    const crashes = left.crashes > 0 ? CRASHES.length : 0;
    const partitions = left.partitions > 0 ? 1 : 0;
    const takeovers = left.takeovers > 0 && isHead ? NODES - 1 : 0;
    const chosen = choices.choose(1 + crashes + partitions + takeovers) - 1;
    if (chosen < 0) return;
    if (chosen < crashes) {
      left.crashes--;
      const how = CRASHES[chosen]!;
      world.prng.coin = how.isKept;
      crash(cluster, engine, how);
      world.prng.coin = undefined;
    } else if (chosen < crashes + partitions) {
      left.partitions--;
      world.trace(`node ${engine.node} is cut off`);
      partition(cluster, engine);
    } else {
      left.takeovers--;
      cluster.wantedNode = (cluster.wantedNode + 1 + chosen - crashes - partitions) % NODES;
      world.trace(`the volume is moved to node ${cluster.wantedNode}`);
    }
  };
  cluster.onStep = offer;
  await world.run(() => cluster.client !== undefined, 'the volume is served', LIMIT_US);
  isOffered = true;
  await world.run(() => cluster.isDone, 'the requests are answered', LIMIT_US);
  for (const engine of cluster.engines) offer(engine);
  isOffered = false;
  mend(cluster);
  await world.run(() => cluster.isWhole, 'all replicas are members again', LIMIT_US);
  // The head flushes by itself.
  await world.sleep(FLUSH_US);
  cluster.checks.everySoOften();
  cluster.checks.onServing(cluster.serving!);
}

function crash(cluster: Cluster, engine: SimEngine, { loses, isKept }: Crash): void {
  const { world } = cluster;
  world.trace(
    `node ${engine.node} loses its ${loses}, ${isKept ? 'keeps' : 'and'} what was under way`,
  );
  if (loses === 'power') cluster.losePower(engine);
  else cluster.kill(engine);
  world.schedule(loses === 'power' ? REBOOT_US : RESTART_US, () => engine.startProcess());
}

function partition(cluster: Cluster, { node }: SimEngine): void {
  for (const other of cluster.engines) {
    cluster.network.cut(node, other.node);
    cluster.network.cut(other.node, node);
  }
  cluster.world.schedule(PARTITION_US, () => cluster.network.heal());
}

export type Exploration = {
  readonly histories: number;
  /** Undefined: all were run. */
  readonly failure: { readonly choices: string; readonly error: unknown } | undefined;
};

/** Runs all histories of `scope` from `choices` on. `onProgress` after each thousand, with what to go on from. */
export async function explore(
  scope: Scope,
  {
    choices = new Choices(),
    onProgress,
  }: {
    readonly choices?: Choices;
    readonly onProgress?: (histories: number, next: string) => void;
  } = {},
): Promise<Exploration> {
  for (let histories = 1; ; histories++) {
    try {
      await runHistory(choices, scope);
    } catch (error) {
      return { histories, failure: { choices: choices.toString(), error } };
    }
    if (!choices.advance()) return { histories, failure: undefined };
    if (histories % 1000 === 0) onProgress?.(histories, choices.toString());
  }
}
