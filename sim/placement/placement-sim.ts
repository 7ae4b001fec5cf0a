/** One seed: a crooked cluster on which volumes are placed one after the other, each looked at; and a fair one on which groups must be even. */

import { isDeepStrictEqual } from 'node:util';
import { Prng } from '../../src/lib/prng.ts';
import { Cluster } from '../../src/placement/cluster.ts';
import { type Level, LEVELS, type Volume } from '../../src/placement/model.ts';
import { explainPlacement, place, type Placement } from '../../src/placement/place.ts';
import { Violation } from '../world.ts';
import { checkHelps } from './check-helps.ts';
import { checkBalance, checkConstraints, groupRange } from './checks.ts';
import { drawCluster, drawDrive, drawNode, drawVolume, GIB } from './random-cluster.ts';

/** Throws `Violation`. What came of the placements is counted in `counts`. */
export function runSeed(seed: number, counts: Map<string, number>): void {
  const random = new Prng(seed);
  placeOnCrooked(random, counts);
  placeGroup(random, counts);
}

function placeOnCrooked(random: Prng, counts: Map<string, number>): void {
  const draw = {
    nodeCount: 1 + random.below(5),
    drivesPerNode: 2,
    trouble: random.pick([0, 10, 30]),
  };
  const cluster = drawCluster(random, draw, 4);
  const drives = cluster.drives();
  const added = Array.from({ length: 4 }, (_, index) => drawVolume(random, `new${index}`, []));
  const changed = Array.from({ length: 2 }, (_, index) => drawVolume(random, `v${index}`, drives));
  for (const volume of [...cluster.volumes, ...added, ...changed]) {
    const { placement, noPlace } = explainPlacement(cluster, volume);
    checkConstraints(cluster, volume, placement);
    checkBalance(cluster, volume, placement);
    checkAgain(cluster, volume, placement);
    checkGrown(random, { cluster, volume, placement });
    count(counts, noPlace === undefined ? 'placed' : `refused: ${noPlace.constraint}`);
    if (noPlace !== undefined) checkHelps(cluster, volume, noPlace);
    else cluster.put(withReplicas(volume, placement.drives));
  }
}

function checkAgain(cluster: Cluster, volume: Volume, placement: Placement): void {
  if (isDeepStrictEqual(place(cluster, volume), placement)) return;
  throw new Violation('determinism', `${volume.name} is placed otherwise the second time`);
}

/** Another node, whatever it is like, makes no placement fail. */
function checkGrown(
  random: Prng,
  { cluster, volume, placement }: { cluster: Cluster; volume: Volume; placement: Placement },
): void {
  if (placement.kind === 'refused') return;
  const node = drawNode(random, 'grown', 20);
  const drive = drawDrive(random, { id: 'grown-d0', node: node.name }, 20);
  const grown = cluster.with({
    nodes: [...cluster.nodes.values(), node],
    drives: [...cluster.drives(), drive],
  });
  if (place(grown, volume).kind === 'placed') return;
  throw new Violation('growth', `${volume.name} has no place any more with another node`);
}

/** Five volumes over three racks are 2, 2, 1, however full and busy the drives are: as long as there is room. */
function placeGroup(random: Prng, counts: Map<string, number>): void {
  const level: Level = random.pick(LEVELS);
  const domainCount = 2 + random.below(4);
  const replicaCount = 1 + random.below(Math.min(3, domainCount));
  const cluster = fairCluster(random, level, domainCount);
  for (let index = 0; index < 7; index++) {
    const volume: Volume = {
      ...drawVolume(random, `m${index}`, []),
      replicaCount,
      spread: { level, isHard: true },
      localTo: random.chance(50) ? 'n0-0' : undefined,
      group: 'g',
      requiredTags: [],
      forbiddenTags: [],
    };
    const placement = place(cluster, volume);
    if (placement.kind === 'refused') throw new Violation('group', 'there is room for all');
    cluster.put(withReplicas(volume, placement.drives));
    const [fewest, most] = groupRange(cluster, 'g', level);
    if (most - fewest > 1) {
      throw new Violation('group', `${index + 1} volumes: ${fewest} to ${most} for each ${level}`);
    }
  }
  count(counts, `group over ${level}s`);
}

function fairCluster(random: Prng, level: Level, domainCount: number): Cluster {
  const nodes = Array.from({ length: domainCount }, (_, domain) =>
    Array.from({ length: level === 'node' ? 1 : 1 + random.below(3) }, (__, index) => ({
      ...drawNode(random, `n${domain}-${index}`, 0),
      region: '',
      zone: level === 'zone' ? `z${domain}` : 'z',
      rack: `r${domain}`,
    })),
  ).flat();
  const drives = nodes.map(({ name }) => ({
    ...drawDrive(random, { id: `${name}-d`, node: name }, 0),
    capacityBytes: (1 + random.below(20)) * 1000 * GIB,
  }));
  return new Cluster({ nodes, drives, volumes: [], overprovisionPercent: null });
}

function withReplicas(volume: Volume, drives: readonly string[]): Volume {
  const added = drives.map((drive) => ({
    drive,
    state: 'synced' as const,
    isRebuilding: false,
    leaving: undefined,
  }));
  return { ...volume, replicas: [...volume.replicas, ...added] };
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}
