/**
 * A cluster as it is, or as it would be after what a plan has decided so far: volumes can be put, and space and groups follow. Whoever plans
 * takes a copy. 200 nodes with 20,000 volumes take some 20 MB.
 */

import { assert } from '../lib/assert.ts';
import {
  domainOf,
  type Drive,
  type Level,
  LEVELS,
  type Node,
  type Replica,
  type Volume,
} from './model.ts';

/** A drive with its node, and what a plan would add to it. */
export type Space = {
  readonly drive: Drive;
  readonly node: Node;
  readonly domains: Readonly<{ [level in Level]: string }>;
  promisedBytes: number;
  writtenBytes: number;
  /** Replicas that are yet to be filled: a full copy each. */
  incoming: number;
};

export type ClusterParts = {
  readonly nodes: Iterable<Node>;
  readonly drives: Iterable<Drive>;
  readonly volumes: Iterable<Volume>;
  /** The sizes of a drive's volumes together, in percent of its capacity (src/model/settings.ts); null: no limit. */
  readonly overprovisionPercent: number | null;
};

export class Cluster {
  readonly overprovisionPercent: number | null;
  readonly nodes: ReadonlyMap<string, Node>;
  /** By id, in the order of ids. */
  readonly spaces: ReadonlyMap<string, Space>;
  readonly #volumes = new Map<string, Volume>();
  /** By group and level: how many of its replicas stay in each domain. */
  readonly #groups = new Map<string, { readonly [level in Level]: Map<string, number> }>();

  /** Throws `Bug` for a drive of a node that is not named. A replica may be on a drive that is: it is gone for good then. */
  constructor(parts: ClusterParts) {
    this.overprovisionPercent = parts.overprovisionPercent;
    this.nodes = new Map([...parts.nodes].map((node) => [node.name, node]));
    const drives = [...parts.drives].toSorted((a, b) => (a.id < b.id ? -1 : 1));
    this.spaces = new Map(drives.map((drive) => [drive.id, this.#spaceOf(drive)]));
    for (const volume of parts.volumes) {
      this.#volumes.set(volume.name, volume);
      this.#count(volume, 1);
    }
  }

  get volumes(): IterableIterator<Volume> {
    return this.#volumes.values();
  }

  volume(name: string): Volume | undefined {
    return this.#volumes.get(name);
  }

  /** Adds a volume, or replaces the one of its name. */
  put(volume: Volume): void {
    const before = this.#volumes.get(volume.name);
    if (before !== undefined) {
      this.#count(before, -1);
      this.#hold(before, -1);
    }
    this.#volumes.set(volume.name, volume);
    this.#count(volume, 1);
    this.#hold(volume, 1);
  }

  /** The drives with their sizes as they are after what was put. */
  drives(): Drive[] {
    return Array.from(this.spaces.values(), ({ drive, promisedBytes, writtenBytes }) => ({
      ...drive,
      promisedBytes,
      writtenBytes,
    }));
  }

  /** The same, with some parts changed. What is put in one leaves the other as it is. */
  with(changes: Partial<ClusterParts>): Cluster {
    return new Cluster({
      nodes: this.nodes.values(),
      drives: this.drives(),
      volumes: this.#volumes.values(),
      overprovisionPercent: this.overprovisionPercent,
      ...changes,
    });
  }

  /** Whether a replica is to go: it is marked so, its place is being drained, or its drive was taken out of the cluster. */
  leaves(replica: Replica): boolean {
    if (replica.leaving !== undefined) return true;
    const space = this.spaces.get(replica.drive);
    return (
      space === undefined || space.drive.service === 'draining' || space.node.service === 'draining'
    );
  }

  /** Whether neither its node nor its drive is down. An unreachable node counts as present: it may only be slow. */
  isPresent(replica: Replica): boolean {
    const space = this.spaces.get(replica.drive);
    return (
      space !== undefined &&
      space.node.liveness.kind !== 'down' &&
      space.drive.downSinceMs === undefined
    );
  }

  /** Whether it is present, and its node was heard just now: what others may be removed for. */
  isUp(replica: Replica): boolean {
    return this.isPresent(replica) && this.spaces.get(replica.drive)?.node.liveness.kind === 'up';
  }

  /** Copies from which the volume can be served: synced and present, also if they are to leave. */
  copiesOf(volume: Volume): Replica[] {
    return volume.replicas.filter(
      (replica) => replica.state === 'synced' && this.isPresent(replica),
    );
  }

  /** How many replicas of the group stay in a domain. */
  groupCount(group: string, level: Level, domain: string): number {
    return this.#groups.get(group)?.[level].get(domain) ?? 0;
  }

  #spaceOf(drive: Drive): Space {
    const node = this.nodes.get(drive.node);
    assert(node !== undefined, 'a drive is named with its node');
    const [zone, rack, name] = LEVELS.map((level) => domainOf(node, level));
    assert(zone !== undefined && rack !== undefined && name !== undefined, 'there are three');
    const { promisedBytes, writtenBytes } = drive;
    const domains = { zone, rack, node: name };
    return { drive, node, domains, promisedBytes, writtenBytes, incoming: 0 };
  }

  #hold(volume: Volume, sign: 1 | -1): void {
    for (const { drive } of volume.replicas) {
      const space = this.spaces.get(drive);
      if (space === undefined) continue;
      space.promisedBytes += sign * volume.sizeBytes;
      space.writtenBytes += sign * volume.writtenBytes;
    }
  }

  #count(volume: Volume, sign: 1 | -1): void {
    for (const replica of volume.replicas) {
      const space = this.spaces.get(replica.drive);
      if (space === undefined) continue;
      if (replica.state === 'new') space.incoming += sign;
      if (volume.group === undefined || this.leaves(replica)) continue;
      let counts = this.#groups.get(volume.group);
      if (counts === undefined) {
        counts = { zone: new Map(), rack: new Map(), node: new Map() };
        this.#groups.set(volume.group, counts);
      }
      for (const level of LEVELS) {
        const domain = space.domains[level];
        counts[level].set(domain, (counts[level].get(domain) ?? 0) + sign);
      }
    }
  }
}
