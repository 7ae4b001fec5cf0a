/** Use cases on the nodes of a cluster: what an operator wants of them. docs/cluster.md, "Nodes in and out of service". */

import { Refusal } from '../../model/errors.ts';
import type { DriveRecord, NodeRecord, ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import { decideAgain } from '../conflicts.ts';
import { similar } from '../names.ts';
import type { EffectView, NodeChange, NodeView, PlacementView } from '../node-schemas.ts';
import { endOperationsOf, endedOperation } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { operationPuts } from '../request-keys.ts';
import type { Nodes } from './nodes.ts';
import type { OwnMembers } from './own-members.ts';
import { placementOf } from './placement-view.ts';
import { NOBODY_AWAY, type NodesSeen } from './placing.ts';
import { type Loss, effectsOf } from './what-if-effects.ts';

/** As many as a refusal names. */
const HELD_SHOWN_MAX = 5;

/** What the cluster has of its nodes. */
type Holdings = {
  readonly drives: readonly DriveRecord[];
  readonly replicas: readonly ReplicaRecord[];
  readonly volumes: readonly VolumeRecord[];
};

export class NodeRegistry {
  readonly #parts: ControlParts;
  readonly #nodes: (NodesSeen & Pick<Nodes, 'nowMs'>) | undefined;
  readonly #members: Pick<OwnMembers, 'remove'> | undefined;

  /** `nodes`: which of them live; undefined on a single machine, which has none. `members`: of the cluster's own etcd, if it has one. */
  constructor(
    parts: ControlParts,
    nodes?: NodesSeen & Pick<Nodes, 'nowMs'>,
    members?: Pick<OwnMembers, 'remove'>,
  ) {
    this.#parts = parts;
    this.#nodes = nodes;
    this.#members = members;
  }

  /** In order of name. */
  async list(): Promise<NodeView[]> {
    const holdings = await this.#holdings();
    return (await this.#parts.records.nodes()).map((node) => this.#view(node, holdings));
  }

  /** The node of this name. Throws NODE_NOT_FOUND, with a name that is like it. */
  async get(name: string): Promise<NodeView> {
    const kept = await this.#parts.records.node(name);
    if (kept !== undefined) return this.#view(kept.record, await this.#holdings());
    const names = (await this.#parts.records.nodes()).map((node) => node.name);
    throw new Refusal('NODE_NOT_FOUND', { node: name, hint: similar(name, names) });
  }

  /** Changes what `change` names. Throws NODE_NOT_FOUND. */
  change(name: string, { labels, service }: NodeChange): Promise<NodeView> {
    return decideAgain(async () => {
      const kept = await this.#parts.records.node(name);
      if (kept === undefined) return this.get(name);
      const { record, version } = kept;
      const changed: NodeRecord = {
        ...record,
        labels: { ...record.labels, ...labels },
        service: service ?? record.service,
      };
      if (JSON.stringify(changed) !== JSON.stringify(record)) {
        const key = `node/${name}`;
        const ended = endedOperation(this.#parts, 'node.change', key);
        await this.#parts.records.change({
          conditions: [{ key, version }],
          puts: [{ key, record: changed }, ...operationPuts(ended)],
        });
      }
      return this.get(name);
    });
  }

  /**
   * After a restore of the records: a node is gone for good, and what only its replicas knew is given up. Throws NODE_NOT_FOUND,
   * NODE_LIVES.
   */
  async giveUp(name: string): Promise<NodeView> {
    const { records } = this.#parts;
    const view = await this.get(name);
    if ((await records.alive()).some(({ node }) => node === name)) {
      throw new Refusal('NODE_LIVES', { node: name });
    }
    await decideAgain(() => records.putReported(name));
    return view;
  }

  /**
   * Takes a node that is gone for good out of the cluster, with its drives. One that is not there is removed already: false then. Throws
   * NODE_LIVES, and NODE_IN_USE while volumes count on it.
   */
  remove(name: string): Promise<boolean> {
    const { records } = this.#parts;
    return decideAgain(async () => {
      const kept = await records.node(name);
      if (kept !== undefined) await this.#takeOut(kept);
      // Nobody will come back to erase them.
      const erased = (await records.replicasNow()).filter(
        ({ node, state }) => node === name && state === 'removing',
      );
      await records.changeEach({ deletes: erased.map(({ id }) => `replica/${id}`) });
      await endOperationsOf(this.#parts, name);
      return kept !== undefined;
    });
  }

  async #takeOut({ record: { name, peer }, version }: Kept<NodeRecord>): Promise<void> {
    const { records } = this.#parts;
    if ((await records.alive()).some(({ node }) => node === name)) {
      throw new Refusal('NODE_LIVES', { node: name });
    }
    const drives = (await records.everyDrive()).filter(({ node }) => node === name);
    // Their versions first: what is placed there after that conflicts.
    const owned = await Promise.all(drives.map((drive) => records.drive(drive.name)));
    const { volumes } = holdingsOf(name, await this.#holdings());
    const staying = (await records.replicasNow()).filter(
      ({ node, state }) => node === name && state !== 'removing',
    );
    const held = [
      ...new Set([...staying.map(({ volume }) => volume), ...volumes.map((each) => each.name)]),
    ];
    if (held.length > 0) throw inUse(name, held);
    // First: once the record is gone, nothing tells which member was the node's.
    await this.#members?.remove(peer);
    const key = `node/${name}`;
    await records.change({
      conditions: [
        { key, version },
        { key: `alive/${name}`, version: 0 },
        ...drives.map((drive, index) => ({
          key: `drive/${drive.name}`,
          version: owned[index]?.version ?? 0,
        })),
      ],
      puts: operationPuts(endedOperation(this.#parts, 'node.remove', key)),
      deletes: [
        key,
        ...drives.flatMap((drive) => [`drive/${drive.name}`, `drive-use/${drive.name}`]),
      ],
    });
  }

  /** What would become of the volumes: see {@link effectsOf}. */
  whatIf(loss: Loss): Promise<EffectView[]> {
    return effectsOf(this.#parts.records, this.#nodes ?? NOBODY_AWAY, loss);
  }

  /** Where the replicas of a volume would go, and why: see {@link placementOf}. */
  placementOf(volume: VolumeRecord): Promise<PlacementView> {
    return placementOf(this.#parts.records, this.#nodes ?? NOBODY_AWAY, volume);
  }

  /** Of all nodes. A volume is of the node where it is attached, or where its one drive is, also in the trash. */
  async #holdings(): Promise<Holdings> {
    const { records } = this.#parts;
    const [drives, replicas, volumes, trash] = await Promise.all([
      records.everyDrive(),
      records.replicas(),
      records.volumes(),
      records.trash(),
    ]);
    return { drives, replicas, volumes: [...volumes, ...trash.map(({ volume }) => volume)] };
  }

  #view(record: NodeRecord, all: Holdings): NodeView {
    const { name, service, labels, peer, join = null, engine, createdAtMs } = record;
    const { drives, replicas, volumes } = holdingsOf(name, all);
    const owned = new Set(drives.map((drive) => drive.name));
    const liveness = (this.#nodes ?? NOBODY_AWAY).liveness(name);
    return {
      name,
      state: liveness.kind,
      downForMs:
        liveness.kind === 'up' || this.#nodes === undefined
          ? null
          : Math.max(0, Math.round(this.#nodes.nowMs() - liveness.sinceMs)),
      service,
      labels,
      peer,
      join,
      engineStart: engine.start,
      drives: drives.map((drive) => drive.name),
      replicas: replicas.filter(({ state }) => state !== 'removing').length,
      alone: volumes.filter(({ drive }) => owned.has(drive)).map((volume) => volume.name),
      attached: volumes.filter(({ attachment }) => attachment?.node === name).length,
      createdAt: new Date(createdAtMs).toISOString(),
    };
  }
}

/** What of `all` is of one node. */
function holdingsOf(node: string, all: Holdings): Holdings {
  const drives = all.drives.filter((drive) => drive.node === node);
  const names = new Set(drives.map(({ name }) => name));
  return {
    drives,
    replicas: all.replicas.filter((replica) => replica.node === node),
    volumes: all.volumes.filter(
      ({ drive, attachment }) => attachment?.node === node || names.has(drive),
    ),
  };
}

function inUse(node: string, held: readonly string[]): Refusal {
  const names = held.slice(0, HELD_SHOWN_MAX).map((name) => `"${name}"`);
  const more = held.length > names.length ? ` and ${held.length - names.length} more` : '';
  return new Refusal('NODE_IN_USE', { node, volumes: names.join(', ') + more });
}
