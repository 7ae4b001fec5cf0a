/**
 * `npm run bench:placement`: what control's decisions take in a large cluster: one placement, and the death of a node, from the last renewal of its lease until
 * every replica of it has its new place. In ms of CPU, since other work on the machine says nothing about it. Exits 1 past the bars.
 *
 *     node bench/placement.ts [--nodes 200] [--volumes 20000]
 */

import { parseArgs } from 'node:util';
import { LEASE_MS } from '../src/control/cluster/nodes.ts';
import { countOption } from '../src/lib/count-option.ts';
import { Prng } from '../src/lib/prng.ts';
import { suggestMoves } from '../src/placement/balance.ts';
import { Cluster } from '../src/placement/cluster.ts';
import type { Drive, Node, Volume } from '../src/placement/model.ts';
import { place } from '../src/placement/place.ts';
import { decideRepairs } from '../src/placement/repairs.ts';
import { whatIf } from '../src/placement/what-if.ts';

const DRIVES_PER_NODE = 4;
const NODES_PER_RACK = 10;
const ZONES = 4;
const TIB = 2 ** 40;
const PLACEMENT_MS_MAX = 20;
const DEATH_MS_MAX = 5000;

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '200' },
    volumes: { type: 'string', default: '20000' },
  },
});
const nodeCount = countOption('nodes', values.nodes);
const volumeCount = countOption('volumes', values.volumes);
const random = new Prng(1);

function emptyCluster(): Cluster {
  const nodes = Array.from({ length: nodeCount }, (_, index): Node => {
    const rack = Math.floor(index / NODES_PER_RACK);
    return {
      name: `node${index}`,
      region: '',
      zone: `zone${rack % ZONES}`,
      rack: `rack${rack}`,
      service: 'open',
      liveness: { kind: 'up' },
    };
  });
  const drives = nodes.flatMap(({ name }) =>
    Array.from({ length: DRIVES_PER_NODE }, (_, index): Drive => ({
      id: `${name}/nvme${index}`,
      node: name,
      capacityBytes: (4 + random.below(5)) * TIB,
      promisedBytes: 0,
      writtenBytes: 0,
      load: random.below(80) / 100,
      tags: ['nvme'],
      service: 'open',
      downSinceMs: undefined,
    })),
  );
  return new Cluster({ nodes, drives, volumes: [], overprovisionPercent: 1000 });
}

function drawVolume(index: number): Volume {
  const sizeBytes = (1 + random.below(20)) * (TIB / 100);
  return {
    name: `volume${index}`,
    sizeBytes,
    writtenBytes: Math.floor(sizeBytes * 0.2),
    replicaCount: 3,
    minimum: 2,
    spread: { level: random.pick(['zone', 'rack', 'node'] as const), isHard: true },
    localTo: random.chance(50) ? `node${random.below(nodeCount)}` : undefined,
    group: random.chance(50) ? `group${random.below(volumeCount / 10)}` : undefined,
    requiredTags: ['nvme'],
    forbiddenTags: [],
    replicas: [],
  };
}

function print(what: string, value: number, unit: string): void {
  const text = value.toLocaleString('en', { maximumFractionDigits: 1 });
  process.stdout.write(`${what.padEnd(58)} ${text.padStart(10)} ${unit}\n`);
}

/** What `run` gives, and the CPU that the process took for it, garbage collection with it, in ms. */
function timed<T>(run: () => T): readonly [T, number] {
  const before = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(before);
  return [result, (user + system) / 1000];
}

/** Places every volume; each placement's time, ascending. */
function fill(cluster: Cluster): number[] {
  const times: number[] = [];
  for (let index = 0; index < volumeCount; index++) {
    const volume = drawVolume(index);
    const [placement, ms] = timed(() => place(cluster, volume));
    times.push(ms);
    if (placement.kind === 'refused') throw new Error('no place');
    const replicas = placement.drives.map((drive) => ({
      drive,
      state: 'synced' as const,
      isRebuilding: false,
      leaving: undefined,
    }));
    cluster.put({ ...volume, replicas });
  }
  return times.toSorted((a, b) => a - b);
}

/** The decision that gives all replicas of a node new places, in ms. */
function death(cluster: Cluster): number {
  const [repairs, decisionMs] = timed(() => {
    const liveness = { kind: 'down', sinceMs: 0 } as const;
    const nodes = Array.from(cluster.nodes.values(), (node) =>
      node.name === 'node7' ? { ...node, liveness } : node,
    );
    const policy = { nowMs: 0, graceMs: 0, rebuildsMax: 16 };
    return decideRepairs(cluster.with({ nodes }), policy);
  });
  print('replicas of the node that got a new place', repairs.changes.length, '');
  if (repairs.held.some(({ hold }) => hold.kind === 'no place')) throw new Error('no place');
  return decisionMs;
}

function main(): number {
  const cluster = emptyCluster();
  const times = fill(cluster);
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
  print(`one of ${volumeCount} placements on ${nodeCount} nodes, p99`, p99, 'ms');
  print('  the median', times[Math.floor(times.length / 2)] ?? 0, 'ms');
  const decisionMs = death(cluster);
  print('a node is dead: its lease', LEASE_MS, 'ms');
  print('  and the new places of its replicas', decisionMs, 'ms');
  const policy = { nowMs: 0, graceMs: 0, rebuildsMax: 16 };
  print(
    'a look at all volumes when all is well',
    timed(() => decideRepairs(cluster, policy))[1],
    'ms',
  );
  const event = { kind: 'lose', level: 'zone', domain: 'zone1' } as const;
  print('what if a zone is lost', timed(() => whatIf(cluster, event))[1], 'ms');
  print('ten moves for balance', timed(() => suggestMoves(cluster, 10))[1], 'ms');
  print('memory of the process', process.memoryUsage.rss() / 2 ** 20, 'MiB');
  const isWithin = p99 <= PLACEMENT_MS_MAX && LEASE_MS + decisionMs <= DEATH_MS_MAX;
  process.stdout.write(isWithin ? 'within the bars\n' : 'PAST THE BARS: 20 ms, 5 s\n');
  return isWithin ? 0 : 1;
}

process.exitCode = main();
