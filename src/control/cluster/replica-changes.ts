/** Use cases on the replicas of a volume: how many there are, and where. They record what is wanted; the repairs of the cluster do it. */

import { Refusal } from '../../model/errors.ts';
import type { Replication, VolumeRecord } from '../../model/records.ts';
import type { Cluster } from '../../placement/cluster.ts';
import { withMark } from '../../placement/model.ts';
import { decideAgain } from '../conflicts.ts';
import { endedOperation } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import { operationPuts } from '../request-keys.ts';
import type { Nodes } from './nodes.ts';
import { NOBODY_AWAY, clusterOf, refuseWithoutPlace } from './placing.ts';

export class ReplicaChanges {
  readonly #parts: ControlParts;
  readonly #nodes: Nodes | undefined;

  /** `nodes`: undefined on a single machine. */
  constructor(parts: ControlParts, nodes: Nodes | undefined) {
    this.#parts = parts;
    this.#nodes = nodes;
  }

  /** Wants another number of replicas. Throws VOLUME_NO_PLACE where there is none for those that are lacking. */
  scale(name: string, count: number): Promise<void> {
    return decideAgain(async () => {
      const { volume, version } = await this.#get(name, `${count} replicas`);
      const { replication } = volume;
      if (replication.count === count) return;
      const wanted = { ...volume, replication: { ...replication, count } };
      const cluster = await this.#cluster();
      const planned = cluster.volume(name);
      if (planned !== undefined) {
        refuseWithoutPlace(cluster, { ...planned, replicaCount: count }, wanted);
      }
      const key = `volume/${name}`;
      const ended = endedOperation(this.#parts, 'volume.scale', key);
      await this.#parts.records.change({
        conditions: [{ key, version }],
        puts: [{ key, record: wanted }, ...operationPuts(ended)],
      });
    });
  }

  /** Wants the replica that is on a drive, or on a node, to be elsewhere. It goes once another is in sync. */
  move(name: string, from: string): Promise<void> {
    return decideAgain(async () => {
      const { volume } = await this.#get(name, `a move from "${from}"`);
      const replicas = (await this.#parts.records.replicas()).filter(
        ({ volumeId, state }) => volumeId === volume.id && state === 'ready',
      );
      const found = replicas.find(({ node, drive }) => drive === from || node === from);
      if (found === undefined) {
        const problem = `it has its replicas on ${replicas.map(({ node, drive }) => `"${drive}" of "${node}"`).join(', ')}`;
        throw new Refusal('REPLICAS_INVALID', { wanted: `a move from "${from}"`, problem });
      }
      if (found.leaving === 'moved') return;
      const cluster = await this.#cluster();
      const planned = cluster.volume(name);
      if (planned !== undefined) {
        refuseWithoutPlace(cluster, withMark(planned, found.drive, 'moved'), volume);
      }
      const kept = await this.#parts.records.replica(found.id);
      if (kept === undefined) return;
      const key = `replica/${found.id}`;
      const ended = endedOperation(this.#parts, 'volume.move-replica', `volume/${name}`);
      await this.#parts.records.change({
        conditions: [{ key, version: kept.version }],
        puts: [{ key, record: { ...kept.record, leaving: 'moved' } }, ...operationPuts(ended)],
      });
    });
  }

  #cluster(): Promise<Cluster> {
    return clusterOf(this.#parts.records, this.#nodes ?? NOBODY_AWAY);
  }

  async #get(
    name: string,
    wanted: string,
  ): Promise<{
    readonly volume: VolumeRecord & { readonly replication: Replication };
    readonly version: number;
  }> {
    const kept = await this.#parts.records.volume(name);
    if (kept === undefined) throw new Refusal('VOLUME_NOT_FOUND', { volume: name, hint: '' });
    const { record, version } = kept;
    const { replication } = record;
    if (replication !== undefined) return { volume: { ...record, replication }, version };
    const problem = `volume "${name}" lies on a drive of a single machine`;
    throw new Refusal('REPLICAS_INVALID', { wanted, problem });
  }
}

/** Throws REPLICAS_INVALID where this node has none of the volume. */
export async function refuseWithoutReplica(
  { records, node }: ControlParts,
  { id, name }: VolumeRecord,
): Promise<void> {
  const replicas = await records.replicas();
  const isHere = replicas.some(
    (replica) => replica.volumeId === id && replica.node === node && replica.state === 'ready',
  );
  if (isHere) return;
  const problem = `this node has none of volume "${name}"`;
  throw new Refusal('REPLICAS_INVALID', { wanted: 'the replica here', problem });
}
