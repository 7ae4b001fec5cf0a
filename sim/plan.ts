/**
 * A plan is one seed's weather, drawn at once: sizes, memories, latencies, what clients do, how and when it crashes. Swarm
 * testing: most features are off in most seeds, so that each gets seeds in which it is everything.
 */

import type { Prng } from '../src/lib/prng.ts';
import { CUT_POLICIES, type CutPolicy } from './cuts.ts';
import { drawFailedWrites, drawFaults } from './draw-faults.ts';
import type { Fault } from './faults.ts';
import { ROT_PLACES, type RotPlace } from './rot.ts';
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
};

/** What `--focus` can ask for: plans drawn around one concern. */
export const FOCUSES = [
  'any',
  'trim',
  'full',
  'snapshot',
  'overlap',
  'recovery',
  'log',
  'ring',
  'faults',
  'failed-writes',
  'rot',
  'far',
  'pages',
  'fsync',
  'apply',
  'idle',
  'reuse',
  'late',
  'calm',
] as const;
export type Focus = (typeof FOCUSES)[number];

const KIB = 1024;
const MIB = 1024 * KIB;

export function drawPlan(prng: Prng, store: StoreUnderTest, focus: Focus): Plan {
  const plan = drawAny(prng, store);
  return { ...plan, ...focused(prng, store, focus, plan) };
}

function drawAny(prng: Prng, store: StoreUnderTest): Plan {
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
  };
}

function drawVolumeBytes(prng: Prng): number {
  return (
    prng.pick([64 * KIB, 128 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB]) +
    prng.pick([0, 0, 4096])
  );
}

function drawGeometry(
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
  };
}

function focused(prng: Prng, store: StoreUnderTest, focus: Focus, plan: Plan): Partial<Plan> {
  const small = { volumeBytes: [128 * KIB], hotPercent: prng.pick([0, 100]) };
  const crashy = { killPercent: 30, cutPercent: 70, legCount: 4, midTrafficPercent: 90 };
  switch (focus) {
    case 'any':
      return {};
    case 'calm':
      return { killPercent: 0, cutPercent: 0, crashRecoveryPercent: 0, controlPercent: 0 };
    case 'trim':
      return {
        ...small,
        ...crashy,
        weights: { read: 4, write: 10, zero: 2, trim: 12, flush: 5 },
        alignBytes: 4096,
        requestBytesMax: prng.pick([4, 8, 64]) * KIB,
      };
    case 'full':
      return {
        ...crashy,
        volumeBytes: [MIB, 512 * KIB],
        mayFill: true,
        geometry: drawGeometry(prng, {
          volumeBytes: [MIB, 512 * KIB],
          mayFill: true,
          frameBlocksMax: plan.limits.frameBlocksMax,
        }),
        weights: { read: 2, write: 20, zero: 2, trim: 8, flush: 2 },
        requestsPerLeg: 150,
      };
    case 'snapshot':
      return {
        ...small,
        ...crashy,
        controlPercent: 15,
        control: {
          create: 0,
          remove: 0,
          resize: 0,
          snapshot: store.hasSnapshots ? 5 : 0,
          removeSnapshot: store.hasSnapshots ? 4 : 0,
        },
        weights: { read: 6, write: 12, zero: 1, trim: 4, flush: 2 },
      };
    case 'overlap':
      return {
        volumeBytes: [64 * KIB],
        depth: 16,
        requestBytesMax: 16 * KIB,
        hotPercent: 100,
        thinkUs: 0,
        weights: { read: 10, write: 15, zero: 2, trim: 2, flush: 2 },
      };
    case 'recovery':
      return {
        ...small,
        ...crashy,
        crashRecoveryPercent: 80,
        requestsPerLeg: prng.pick([5, 20, 40]),
      };
    case 'log':
      return {
        ...small,
        ...crashy,
        requestsPerLeg: 150,
        requestBytesMax: 4 * KIB,
        weights: { read: 1, write: 20, zero: 0, trim: 1, flush: prng.pick([1, 6]) },
      };
    case 'ring': {
      // Frames of one block, and flushes so slow that the log comes round while a checkpoint is being made.
      const limits = { ...plan.limits, frameBlocksMax: 18, logMemoryBlocks: 18 * 8 };
      const volumeBytes = [2 * MIB];
      const needs = { volumeBytes, mayFill: false, frameBlocksMax: limits.frameBlocksMax };
      return {
        ...crashy,
        volumeBytes,
        limits,
        geometry: drawGeometry(prng, needs),
        latency: { baseUs: 1, spreadUs: 2, tailPercent: 0, tailUs: 0, flushUs: 20_000 },
        depth: prng.pick([1, 1, 2]),
        hotPercent: 0,
        thinkUs: 0,
        requestsPerLeg: 500,
        requestBytesMax: 4 * KIB,
        alignBytes: 4096,
        controlPercent: 0,
        fuaPercent: 0,
        weights: { read: 1, write: 20, zero: 0, trim: prng.pick([0, 4]), flush: 0 },
      };
    }
    case 'idle':
      return {
        ...small,
        ...crashy,
        thinkUs: 20_000,
        midTrafficPercent: 40,
        weights: { read: 1, write: 10, zero: 0, trim: 1, flush: 8 },
      };
    case 'reuse':
      return {
        ...crashy,
        volumeBytes: [256 * KIB, 256 * KIB],
        mayFill: true,
        geometry: {
          ...drawGeometry(prng, {
            volumeBytes: [256 * KIB, 256 * KIB],
            mayFill: true,
            frameBlocksMax: plan.limits.frameBlocksMax,
          }),
          cellsPerChunk: 8,
        },
        weights: { read: 4, write: 20, zero: 0, trim: 12, flush: 2 },
        alignBytes: 4096,
        requestBytesMax: 64 * KIB,
        requestsPerLeg: 80,
      };
    case 'late':
      return {
        ...small,
        killPercent: 100,
        cutPercent: 0,
        legCount: 4,
        midTrafficPercent: 100,
        depth: 16,
        latency: { baseUs: 5, spreadUs: 20, tailPercent: 15, tailUs: 40_000, flushUs: 50 },
      };
    case 'far': {
      // Cells right before and after 2^31 and 2^32, and at 2^44 now and then: opening 16 TiB takes a while.
      const sizeBytes = prng.chance(5) ? 2 ** 44 + 2 ** 28 : 2 ** prng.pick([31, 32, 33]) + 2 ** 28;
      const geometry = { ...plan.geometry, sizeBytes, cellsPerChunk: 1008 };
      const chunks = Math.floor((sizeBytes - geometry.logBytes - 2 ** 26) / (1012 * 64 * KIB));
      const firstChunk = Math.max(0, chunks - prng.pick([2, 3, 4, 5, 6]));
      return { ...crashy, geometry, limits: { ...plan.limits, firstChunk }, mayFill: false };
    }
    case 'pages': {
      // One write of a metadata page of the first chunk is lost; the checkpoint behind it counts it as written.
      const fromBytes = plan.geometry.logBytes + 64 * KIB;
      return {
        ...small,
        killPercent: 70,
        cutPercent: 0,
        crashRecoveryPercent: 0,
        rotPlaces: [],
        geometry: {
          ...plan.geometry,
          cellsPerChunk: 63,
          sizeBytes: plan.geometry.logBytes + 3 * 65 * 64 * KIB + MIB,
        },
        faults: [
          {
            on: 'write',
            nth: 1 + prng.below(20),
            within: { fromBytes, toBytes: fromBytes + 64 * KIB },
            give: { kind: 'lost' },
            promise: 'detect',
          },
        ],
      };
    }
    case 'apply':
      // Overwrites of a few extents, by parts and whole, on a drive with hardly more cells; log memory so small that applying goes on
      // all the time, and now and then a slow write.
      return {
        ...crashy,
        volumeBytes: [640 * KIB],
        mayFill: true,
        geometry: {
          ...plan.geometry,
          cellsPerChunk: 8,
          sizeBytes: plan.geometry.logBytes + 2 * 9 * 64 * KIB + 256 * KIB,
        },
        limits: {
          ...plan.limits,
          logMemoryBlocks: prng.pick([2, 4, 8]) * plan.limits.frameBlocksMax,
          pageCachePages: 32,
        },
        latency: {
          baseUs: 1,
          spreadUs: 10,
          tailPercent: 10,
          tailUs: prng.pick([300, 5000, 20_000]),
          flushUs: 0,
        },
        depth: prng.pick([1, 2, 4, 16]),
        requestBytesMax: 64 * KIB,
        alignBytes: 4096,
        hotPercent: 0,
        weights: { read: 2, write: 16, zero: 0, trim: prng.pick([0, 2]), flush: 8 },
        thinkUs: prng.pick([0, 50]),
        controlPercent: 0,
        requestsPerLeg: 150,
      };
    case 'fsync':
      return {
        ...small,
        ...crashy,
        killPercent: 0,
        cutPercent: 100,
        controlPercent: 0,
        weights: { read: 1, write: 10, zero: 0, trim: 1, flush: 8 },
        faults: [{ on: 'flush', nth: 5 + prng.below(20), give: { kind: 'error', errno: 5 } }],
      };
    case 'rot':
      return {
        rotPlaces: prng.chance(50) ? ROT_PLACES : [prng.pick(ROT_PLACES)],
        midTrafficPercent: 0,
        crashRecoveryPercent: 0,
        controlPercent: 0,
        // No cuts: the mark that says what was flushed is itself not flushed, and rot above it looks like a write that was not either.
        killPercent: 70,
        cutPercent: 0,
        requestsPerLeg: prng.pick([5, 40]),
        legCount: 3,
      };
    case 'failed-writes':
      return { ...small, ...crashy, ...drawFailedWrites(prng, plan, store) };
    case 'faults':
      return { ...crashy, faults: drawFaults(prng, plan), tearPercent: 0, controlPercent: 0 };
  }
}
