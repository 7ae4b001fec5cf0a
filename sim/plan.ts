/**
 * A plan is one seed's weather, drawn at once: sizes, memories, latencies, what clients do, how and when it crashes. Swarm
 * testing: most features are off in most seeds, so that each gets seeds in which it is everything.
 */

import type { Prng } from '../src/lib/prng.ts';
import { CUT_POLICIES, type CutPolicy } from './cuts.ts';
import type { Fault } from './faults.ts';
import type { RotPlace } from './rot.ts';
import type { Latency } from './sim-operation.ts';
import type { Geometry, Limits, StoreUnderTest } from './store-under-test.ts';

export type Weights = {
  readonly read: number;
  readonly write: number;
  readonly zero: number;
  readonly trim: number;
  readonly flush: number;
};

export type ControlWeights = {
  readonly create: number;
  readonly remove: number;
  readonly resize: number;
  readonly snapshot: number;
  readonly removeSnapshot: number;
  /** Drops of marks, and changes of the set of replicas. */
  readonly replica: number;
};

export type Plan = {
  readonly geometry: Geometry;
  readonly limits: Limits;
  readonly sectorBytes: 512 | 4096;
  readonly latency: Latency;
  readonly volumeBytes: readonly number[];
  readonly depth: number;
  readonly requestBytesMax: number;
  /** Requests begin and end at multiples of this, where the volume's content allows it. */
  readonly alignBytes: number;
  /** So many percent of the requests go to the first eighth of the volume. */
  readonly hotPercent: number;
  readonly weights: Weights;
  readonly fuaPercent: number;
  readonly thinkUs: number;
  /** Lives of the process with traffic in them. */
  readonly legCount: number;
  readonly requestsPerLeg: number;
  readonly control: ControlWeights;
  /** So many percent of the requests are followed by a control operation, one at a time. */
  readonly controlPercent: number;
  /** How a life ends: percent of kills, of cuts; the rest are clean closes. */
  readonly killPercent: number;
  readonly cutPercent: number;
  /** So many percent of the openings are crashed into, up to three in a row. */
  readonly crashRecoveryPercent: number;
  readonly cutPolicies: readonly CutPolicy[];
  readonly tearPercent: number;
  /** So many percent of the lives end in the middle of traffic rather than at rest. */
  readonly midTrafficPercent: number;
  /** After an opening, so many percent of the times everything is read at once. */
  readonly verifyPercent: number;
  readonly faults: readonly Fault[];
  /** Where bits flip between lives; none: nowhere. */
  readonly rotPlaces: readonly RotPlace[];
  readonly mayFill: boolean;
  /** Most volumes have several replicas, of which the drive holds one. */
  readonly replicas: boolean;
};

const KIB = 1024;
const MIB = 1024 * KIB;

export function drawAny(prng: Prng, store: StoreUnderTest): Plan {
  const volumeCount = prng.pick([1, 1, 2, 2, 3, 4]);
  const volumeBytes = Array.from({ length: volumeCount }, () => drawVolumeBytes(prng));
  const mayFill = prng.chance(15);
  const depth = prng.pick([1, 1, 2, 4, 8, 16, 32]);
  const requestBytesMax = prng.pick([4, 8, 16, 64, 128, 256]) * KIB;
  const busy = prng.chance(60);
  const limits = drawLimits(prng);
  return {
    geometry: drawGeometry(prng, { volumeBytes, mayFill, frameBlocksMax: limits.frameBlocksMax }),
    limits,
    sectorBytes: prng.chance(20) ? 4096 : 512,
    latency: drawLatency(prng),
    volumeBytes,
    depth: Math.min(depth, Math.max(1, Math.floor((2 * MIB) / requestBytesMax / volumeCount))),
    requestBytesMax,
    alignBytes: prng.pick([4096, 4096, 4096, 512, 512, 1]),
    hotPercent: prng.pick([0, 0, 50, 90, 100]),
    weights: drawWeights(prng),
    fuaPercent: prng.pick([0, 0, 0, 10, 100]),
    thinkUs: prng.pick([0, 0, 50, 500, 20_000]),
    legCount: 1 + prng.below(4),
    requestsPerLeg: prng.pick([5, 20, 40, 80, 150]),
    control: drawControl(prng, store),
    controlPercent: busy ? 0 : prng.pick([2, 5, 20]),
    killPercent: prng.pick([0, 40, 100]),
    cutPercent: prng.pick([0, 60, 100]),
    crashRecoveryPercent: prng.pick([0, 0, 40, 80]),
    cutPolicies: prng.chance(50) ? CUT_POLICIES : [prng.pick(CUT_POLICIES)],
    tearPercent: store.survivesTearing ? prng.pick([0, 0, 2, 20]) : 0,
    midTrafficPercent: prng.pick([50, 80, 100]),
    verifyPercent: prng.pick([20, 60, 100]),
    faults: [],
    rotPlaces: [],
    mayFill,
    replicas: false,
  };
}

function drawVolumeBytes(prng: Prng): number {
  return (
    prng.pick([64 * KIB, 128 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB]) +
    prng.pick([0, 0, 4096])
  );
}

export function drawGeometry(
  prng: Prng,
  needs: {
    readonly volumeBytes: readonly number[];
    readonly mayFill: boolean;
    readonly frameBlocksMax: number;
  },
): Geometry {
  const dataBytes = needs.volumeBytes.reduce((sum, bytes) => sum + bytes, 0);
  // The store asks for 12 of the largest frames.
  const logBytes = prng.pick([12, 12, 13, 16, 32]) * needs.frameBlocksMax * 4 * KIB;
  // Room for all volumes three times over (redirected extents, a resize, new volumes), or hardly for their content.
  const room = needs.mayFill ? dataBytes / 2 + 256 * KIB : 3 * dataBytes + 4 * MIB;
  const cellsPerChunk = prng.pick([8, 16, 24, 63]);
  // Two chunks at least, whatever the room; and metadata.
  const chunkBytes = (cellsPerChunk + 1) * 64 * KIB;
  const chunks = Math.max(2, Math.ceil(room / (cellsPerChunk * 64 * KIB)));
  const sizeBytes = logBytes + chunks * chunkBytes + 256 * KIB;
  return { sizeBytes, logBytes, cellsPerChunk, tablePages: 4 };
}

function drawLimits(prng: Prng): Limits {
  const frameBlocksMax = prng.pick([18, 18, 20, 33]);
  return {
    frameBlocksMax,
    logMemoryBlocks: frameBlocksMax * prng.pick([2, 3, 8]),
    pageCachePages: prng.pick([8, 8, 12, 32]),
    firstChunk: 0,
    marksMax: Infinity,
  };
}

function drawLatency(prng: Prng): Latency {
  return {
    baseUs: prng.pick([1, 20, 100]),
    spreadUs: prng.pick([0, 50, 500]),
    tailPercent: prng.pick([0, 1, 10]),
    tailUs: prng.pick([1000, 20_000]),
    flushUs: prng.pick([0, 100, 2000, 10_000]),
  };
}

function drawWeights(prng: Prng): Weights {
  const some = (most: number): number => (prng.chance(40) ? 0 : 1 + prng.below(most));
  return { read: some(10), write: 5 + some(20), zero: some(4), trim: some(6), flush: some(8) };
}

function drawControl(prng: Prng, store: StoreUnderTest): ControlWeights {
  const some = (): number => (prng.chance(50) ? 0 : 1 + prng.below(4));
  return {
    create: some(),
    remove: some(),
    resize: store.hasResize ? some() : 0,
    snapshot: store.hasSnapshots ? some() : 0,
    removeSnapshot: store.hasSnapshots ? some() : 0,
    replica: 0,
  };
}
