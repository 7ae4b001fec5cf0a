/** One seed: a cluster, requests, faults; then everything is mended, and all must end well. */

import type { Head } from '../../src/replication/head.ts';
import { World } from '../world.ts';
import { Cluster } from './cluster.ts';
import type { Mood } from './fault.ts';
import { inject, loseOpening, mend, slowDown, slowDownOutsiders } from './faults.ts';

export type SeedReport = {
  readonly counts: ReadonlyMap<string, number>;
  /** Virtual time. */
  readonly seconds: number;
};

export type SeedOptions = {
  readonly requestCount?: number;
  readonly faultCount?: number;
  readonly onTrace?: (line: string) => void;
};

/** Virtual time in which everything must have ended once all is mended. */
const END_LIMIT_US = 60_000_000;

/** Runs it; throws a Violation. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedReport> {
  const world = new World(seed, options.onTrace);
  const { prng } = world;
  const nodeCount = 3 + prng.below(3);
  const requestCount = options.requestCount ?? 2000;
  const cluster = new Cluster(world, {
    nodeCount,
    replicaCount: Math.min(nodeCount, prng.pick([1, 2, 2, 3, 3, 3, 3, 4, 5])),
    blockCount: 400,
    sizeBlocks: prng.pick([24, 40, 136, 360]),
    requestCount,
    depth: prng.pick([1, 4, 12]),
    hotPercent: prng.pick([0, 30, 70]),
    flushPercent: prng.pick([3, 10, 40]),
    thinkUs: prng.pick([5, 5, 5, 4000]),
    stallLimitMs: prng.pick([1600, 600_000, 600_000]),
  });
  cluster.network.slowPercent = 10;
  const mood = prng.pick<Mood>(['any', 'any', 'churn', 'takeover']);
  const faultCount = options.faultCount ?? (mood === 'any' ? 12 : 24);
  // Much goes wrong only if something fails in the middle of a takeover.
  cluster.onClaim = () => {
    if (cluster.requestsLeft === 0 || !prng.chance(25)) return;
    world.schedule(prng.below(prng.chance(50) ? 4000 : 1_200_000), () => {
      if (cluster.requestsLeft > 0) inject(cluster, mood);
    });
  };
  cluster.onHeadEvent = (engine, event) => {
    if (cluster.requestsLeft === 0 || !prng.chance(30)) return;
    if (event === 'extents made equal') {
      // Before anything was copied; or between two copies of one extent, if one of them takes long.
      const isSlow = prng.chance(60);
      if (isSlow) slowDown(cluster, prng.pick(cluster.engines.filter((each) => each !== engine)));
      world.schedule(prng.below(isSlow ? 40_000 : 1000), () => loseOpening(cluster, engine));
    } else if (event === 'rebuild begun') {
      // While its session is opened, or while it is copied to.
      if (prng.chance(50)) slowDownOutsiders(cluster);
      world.schedule(prng.below(prng.chance(50) ? 6000 : 40_000), () => cluster.grow());
    }
  };
  scheduleFaults(cluster, { faultCount, requestCount, mood });
  try {
    await world.run(() => cluster.requestsLeft === 0, 'the requests are asked', 600_000_000);
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
  return { counts: cluster.counts, seconds: world.nowUs / 1e6 };
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

/** One each time another part of the requests was asked; and where requests stand still, sooner or later. */
function scheduleFaults(
  cluster: Cluster,
  {
    faultCount,
    requestCount,
    mood,
  }: { readonly faultCount: number; readonly requestCount: number; readonly mood: Mood },
): void {
  const { world } = cluster;
  let injected = 0;
  let stillSinceUs = 0;
  let lastLeft = requestCount;
  const look = (): void => {
    if (cluster.requestsLeft === 0) return;
    if (cluster.requestsLeft !== lastLeft) stillSinceUs = world.nowUs;
    lastLeft = cluster.requestsLeft;
    const isDue =
      requestCount - cluster.requestsLeft >= (injected * requestCount) / (faultCount + 1);
    // A takeover from a head that is not reached takes a little more than a second.
    const isStill = world.nowUs - stillSinceUs > 1_200_000;
    if (injected < faultCount && (isDue || (isStill && world.prng.chance(5)))) {
      injected++;
      inject(cluster, mood);
      // Some come in company.
      if (world.prng.chance(30))
        world.schedule(world.prng.below(3000), () => inject(cluster, mood));
    } else if (injected >= faultCount && isStill) {
      mend(cluster);
      stillSinceUs = world.nowUs;
    }
    world.schedule(2000 + world.prng.below(10_000), look);
  };
  world.schedule(world.prng.below(20_000), look);
}
