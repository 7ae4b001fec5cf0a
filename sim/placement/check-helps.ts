/** What a refusal says would help does help: each is done by itself, and the volume placed again. */

import type { Cluster } from '../../src/placement/cluster.ts';
import type { Drive, Node, Volume } from '../../src/placement/model.ts';
import type { Help, NoPlace } from '../../src/placement/no-place.ts';
import { place } from '../../src/placement/place.ts';
import { Violation } from '../world.ts';

export function checkHelps(cluster: Cluster, volume: Volume, { helps, constraint }: NoPlace): void {
  for (const help of helps) {
    const [helped, wanted] = helpedBy(cluster, volume, help);
    if (place(helped, wanted).kind === 'placed') continue;
    const what = JSON.stringify(help);
    throw new Violation('help', `${volume.name} is refused (${constraint}), also after ${what}`);
  }
}

function helpedBy(cluster: Cluster, volume: Volume, help: Help): readonly [Cluster, Volume] {
  switch (help.kind) {
    case 'fewer replicas':
      return [cluster, { ...volume, replicaCount: help.replicaCount }];
    case 'soften spread':
      return [cluster, { ...volume, spread: { ...volume.spread, isHard: false } }];
    case 'lift':
      return [lifted(cluster, volume, help), volume];
    case 'add drives':
      return [enlarged(cluster, volume, help), volume];
  }
}

function lifted(cluster: Cluster, volume: Volume, help: Help & { readonly kind: 'lift' }): Cluster {
  const { constraint, drives } = help;
  const nodes = new Set(drives.map((id) => cluster.spaces.get(id)?.node.name));
  const toNode = (node: Node): Node => {
    if (!nodes.has(node.name)) return node;
    if (constraint === 'liveness') return { ...node, liveness: { kind: 'up' } };
    return constraint === 'service' ? { ...node, service: 'open' } : node;
  };
  const toDrive = (drive: Drive): Drive => {
    if (!drives.includes(drive.id)) return drive;
    if (constraint === 'liveness') return { ...drive, downSinceMs: undefined };
    if (constraint === 'service') return { ...drive, service: 'open' };
    if (constraint === 'tags') return { ...drive, tags: volume.requiredTags };
    return constraint === 'space' ? { ...drive, writtenBytes: 0 } : drive;
  };
  return cluster.with({
    nodes: Array.from(cluster.nodes.values(), toNode),
    drives: cluster.drives().map(toDrive),
    overprovisionPercent: constraint === 'promised' ? null : cluster.overprovisionPercent,
  });
}

function enlarged(
  cluster: Cluster,
  volume: Volume,
  { count, sizeBytes, tags }: Help & { readonly kind: 'add drives' },
): Cluster {
  const names = Array.from({ length: count }, (_, index) => `added${index}`);
  const nodes = names.map((name): Node => ({
    name,
    region: '',
    zone: `zone of ${name}`,
    rack: '',
    service: 'open',
    liveness: { kind: 'up' },
  }));
  const capacityBytes = Math.max(sizeBytes, volume.writtenBytes) * 2;
  const drives = names.map((name): Drive => ({
    id: `${name}-d`,
    node: name,
    capacityBytes,
    promisedBytes: 0,
    writtenBytes: 0,
    load: 0,
    tags,
    service: 'open',
    downSinceMs: undefined,
  }));
  return cluster.with({
    nodes: [...cluster.nodes.values(), ...nodes],
    drives: [...cluster.drives(), ...drives],
  });
}
