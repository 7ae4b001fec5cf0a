/** What a history is about: each focus makes its own part of the store likely to be hit. */

import type { Prng } from '../src/lib/prng.ts';
import { drawFailedWrites, drawFaults } from './draw-faults.ts';
import { drawAny, drawGeometry, type Plan } from './plan.ts';
import { ROT_PLACES } from './rot.ts';
import type { StoreUnderTest } from './store-under-test.ts';

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
  'replicas',
] as const;
export type Focus = (typeof FOCUSES)[number];

const UNDER_REPLICAS = [
  'any',
  'trim',
  'full',
  'snapshot',
  'recovery',
  'recovery',
  'log',
  'ring',
  'idle',
  'fsync',
  'failed-writes',
] as const;

const KIB = 1024;
const MIB = 1024 * KIB;

export function drawPlan(prng: Prng, store: StoreUnderTest, focus: Focus): Plan {
  const plan = drawAny(prng, store);
  return { ...plan, ...focused(prng, store, focus, plan) };
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
          replica: 0,
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
    case 'replicas': {
      // Any other weather, on volumes of which the drive holds one replica.
      const other = focused(prng, store, prng.pick(UNDER_REPLICAS), plan);
      const none = { create: 0, remove: 0, resize: 0, snapshot: 0, removeSnapshot: 0 };
      const isBusy = (other.controlPercent ?? plan.controlPercent) > 0;
      const marksMax = prng.pick([8, 32, Infinity, Infinity]);
      return {
        ...other,
        killPercent: 45,
        cutPercent: 45,
        replicas: store.hasReplicas,
        controlPercent: prng.pick([2, 10, 30]),
        control: { ...(isBusy ? (other.control ?? plan.control) : none), replica: 6 },
        limits: { ...(other.limits ?? plan.limits), marksMax },
      };
    }
    case 'failed-writes':
      return { ...small, ...crashy, ...drawFailedWrites(prng, plan, store) };
    case 'faults':
      return { ...crashy, faults: drawFaults(prng, plan), tearPercent: 0, controlPercent: 0 };
  }
}
