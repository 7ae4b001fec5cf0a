/** Draws clusters, and volumes for them, from a seed: crooked ones, in which each constraint bites now and then. */

import type { Prng } from '../../src/lib/prng.ts';
import { Cluster } from '../../src/placement/cluster.ts';
import {
  type Drive,
  LEVELS,
  type Node,
  type Replica,
  type Volume,
} from '../../src/placement/model.ts';

export const GIB = 2 ** 30;

const SERVICES = ['cordoned', 'draining', 'maintenance'] as const;
const REPLICA_STATES = ['synced', 'synced', 'stale', 'new'] as const;

export type Draw = {
  readonly nodeCount: number;
  readonly drivesPerNode: number;
  /** In percent, how often a node or a drive has something that keeps replicas off it. */
  readonly trouble: number;
};

export function drawNode(random: Prng, name: string, trouble: number): Node {
  const zone = random.below(3);
  return {
    name,
    region: random.chance(10) ? 'far' : '',
    zone: random.chance(10) ? '' : `z${zone}`,
    rack: random.chance(10) ? '' : `r${random.below(2)}`,
    service: random.chance(trouble) ? random.pick(SERVICES) : 'open',
    liveness: random.chance(trouble)
      ? { kind: random.chance(50) ? 'down' : 'unreachable', sinceMs: 0 }
      : { kind: 'up' },
  };
}

export function drawDrive(
  random: Prng,
  names: { id: string; node: string },
  trouble: number,
): Drive {
  const capacityBytes = (1 + random.below(4)) * 100 * GIB;
  const hasTrouble = random.chance(trouble);
  return {
    ...names,
    capacityBytes,
    promisedBytes: hasTrouble ? capacityBytes * 2 : random.below(100) * GIB,
    writtenBytes: random.chance(trouble) ? capacityBytes : random.below(50) * GIB,
    load: random.below(100) / 100,
    tags: ['ssd', 'old'].filter(() => random.chance(40)),
    service: random.chance(trouble) ? random.pick(SERVICES) : 'open',
    downSinceMs: random.chance(trouble) ? 0 : undefined,
  };
}

/** `drives`: where replicas may be already. */
export function drawVolume(random: Prng, name: string, drives: readonly Drive[]): Volume {
  const replicaCount = 1 + random.below(5);
  const writtenBytes = random.below(20) * GIB;
  const homes = drives.filter(() => random.chance(20)).slice(0, replicaCount);
  return {
    name,
    sizeBytes: 20 * GIB,
    writtenBytes,
    replicaCount,
    minimum: Math.ceil(replicaCount / 2),
    spread: { level: random.pick(LEVELS), isHard: random.chance(70) },
    localTo: random.chance(30) ? `n${random.below(3)}` : undefined,
    group: random.chance(50) ? `g${random.below(2)}` : undefined,
    requiredTags: random.chance(20) ? ['ssd'] : [],
    forbiddenTags: random.chance(20) ? ['old'] : [],
    replicas: homes.map((drive) => drawReplica(random, drive)),
  };
}

function drawReplica(random: Prng, { id }: Drive): Replica {
  const leaving = random.chance(80) ? undefined : random.chance(50) ? 'moved' : 'replaced';
  const state = random.pick(REPLICA_STATES);
  return { drive: id, state, isRebuilding: state !== 'synced' && random.chance(50), leaving };
}

export function drawCluster(random: Prng, draw: Draw, volumeCount: number): Cluster {
  const nodes = Array.from({ length: draw.nodeCount }, (_, index) =>
    drawNode(random, `n${index}`, draw.trouble),
  );
  const drives = nodes.flatMap(({ name }) =>
    Array.from({ length: 1 + random.below(draw.drivesPerNode) }, (_, index) =>
      drawDrive(random, { id: `${name}-d${index}`, node: name }, draw.trouble),
    ),
  );
  const volumes = Array.from({ length: volumeCount }, (_, index) =>
    drawVolume(random, `v${index}`, drives),
  );
  return new Cluster({ nodes, drives, volumes, overprovisionPercent: 200 });
}
