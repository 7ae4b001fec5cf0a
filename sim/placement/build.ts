/** Parts of clusters for tests, in which all is well but for what a test says. */

import { Cluster } from '../../src/placement/cluster.ts';
import type { Drive, Node, Replica, Volume } from '../../src/placement/model.ts';
import { GIB } from './random-cluster.ts';

/** `name` is ZONE-RACK-ANYTHING, or a part of it. */
export function node(name: string, changes: Partial<Node> = {}): Node {
  const [zone = '', rack = ''] = name.split('-');
  return { name, region: '', zone, rack, service: 'open', liveness: { kind: 'up' }, ...changes };
}

/** `id` is its node's name, `/` and anything. */
export function drive(id: string, changes: Partial<Drive> = {}): Drive {
  return {
    id,
    node: id.split('/')[0] ?? '',
    capacityBytes: 1000 * GIB,
    promisedBytes: 0,
    writtenBytes: 0,
    load: 0,
    tags: [],
    service: 'open',
    downSinceMs: undefined,
    ...changes,
  };
}

/** Synced and staying replicas on `drives`, of three that are wanted, with a hard spread over nodes. */
export function volume(
  name: string,
  drives: readonly string[],
  changes: Partial<Volume> = {},
): Volume {
  return {
    name,
    sizeBytes: 10 * GIB,
    writtenBytes: GIB,
    replicaCount: 3,
    minimum: 2,
    spread: { level: 'node', isHard: true },
    localTo: undefined,
    group: undefined,
    requiredTags: [],
    forbiddenTags: [],
    replicas: drives.map((id) => replica(id)),
    ...changes,
  };
}

export function replica(on: string, changes: Partial<Replica> = {}): Replica {
  return { drive: on, state: 'synced', isRebuilding: false, leaving: undefined, ...changes };
}

/** A drive in each node. */
export function cluster(nodes: readonly Node[], volumes: readonly Volume[] = []): Cluster {
  const drives = nodes.map(({ name }) => drive(`${name}/d`));
  return new Cluster({ nodes, drives, volumes, overprovisionPercent: 1000 });
}
