/** A volume whose replicas are on nodes of a cluster, as its settling asks for it. docs/cluster.md, "Who settles a volume". */

import { Refusal } from '../../model/errors.ts';
import { formatUuid } from '../../model/ids.ts';
import type { AttachmentRecord, ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import { recordJson } from '../../peer/record-json.ts';
import { type Record as SetRecord, defaultMinimum } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import type { SetsSeen } from '../sets-seen.ts';
import { type VolumeData, engineStatuses, textOf } from '../volume-data.ts';
import type { Cluster } from './cluster.ts';
import { decideAgain } from '../conflicts.ts';

/** A node that does not make a replica in this time is taken for one that cannot. */
const MAKE_MS_MAX = 15_000;
const LINEAGE_LIMIT = 2 ** 48;

export class ReplicatedData implements VolumeData {
  readonly #parts: ControlParts;
  readonly #cluster: Cluster;

  constructor(parts: ControlParts, cluster: Cluster) {
    this.#parts = parts;
    this.#cluster = cluster;
  }

  /** Its replicas are recorded with it. */
  async create(volume: VolumeRecord): Promise<void> {
    const { records } = this.#parts;
    if ((await records.set(volume.id)) !== undefined) return;
    const made = await this.#cluster.watch.until(async () => {
      const replicas = await this.#replicasOf(volume);
      const isOver = replicas.every(({ state, error }) => state === 'ready' || error !== undefined);
      // Those that another node has recorded are heard of a moment later.
      return isOver && replicas.length > 0 ? replicas : undefined;
    }, MAKE_MS_MAX);
    const known = made ?? (await this.#replicasOf(volume));
    const kept = (await Promise.all(known.map(({ id }) => records.replica(id)))).flatMap(
      (each) => each ?? [],
    );
    const replicas = kept.map((each) => each.record);
    if (replicas.length === 0) throw new Refusal('VOLUME_LOST', { volume: volume.name });
    const lacking = replicas.find(({ state }) => state !== 'ready');
    if (lacking !== undefined) {
      await this.remove(volume);
      throw new Refusal('REPLICA_NOT_MADE', {
        volume: volume.name,
        node: lacking.node,
        drive: lacking.drive,
        problem: lacking.error?.message ?? 'it does not answer',
      });
    }
    const record: SetRecord = {
      lineage: Number.parseInt(this.#parts.newAttachId().slice(0, 12), 16) % LINEAGE_LIMIT,
      epoch: 1,
      writer: this.#parts.newAttachId(),
      head: undefined,
      attachment: undefined,
      members: new Map(replicas.map(({ id, life = 0 }) => [id, life])),
      minimum: defaultMinimum(replicas.length),
      sizeBytes: volume.sizeBytes,
    };
    const key = `set/${volume.id}`;
    await records.change({
      conditions: [
        { key, version: 0 },
        // A removal of the volume begins with them.
        ...kept.map(({ record: { id }, version }) => ({ key: `replica/${id}`, version })),
      ],
      puts: [{ key, record: recordJson(record) }],
    });
    this.#parts.onStep('volume.create: set');
  }

  /** From then on no head starts; each node deletes its replica, as soon as it is there. */
  async remove(volume: VolumeRecord): Promise<void> {
    const { records, onStep } = this.#parts;
    await decideAgain(async () => {
      const going = (await this.#replicasOf(volume)).filter(({ state }) => state !== 'removing');
      const kept = await Promise.all(going.map(({ id }) => records.replica(id)));
      const present = kept.filter((each) => each !== undefined);
      const conditions = present.map(({ record, version }) => ({
        key: `replica/${record.id}`,
        version,
      }));
      const puts = present.map(({ record }) => ({
        key: `replica/${record.id}`,
        record: { ...record, state: 'removing' as const },
      }));
      await records.change({
        conditions,
        puts,
        deletes: [`set/${volume.id}`, `scrub/${volume.id}`],
      });
    });
    onStep('volume.delete: replicas are to go');
  }

  async attach(volume: VolumeRecord, attachment: AttachmentRecord): Promise<string> {
    return textOf(await this.#cluster.heads.serve(volume, attachment), 'socketPath');
  }

  detach(volume: VolumeRecord, attachment: AttachmentRecord): Promise<void> {
    return this.#cluster.heads.release(volume, attachment);
  }

  end(volume: VolumeRecord, attachment: AttachmentRecord): Promise<void> {
    return this.#cluster.heads.end(volume, attachment);
  }

  async resize(volume: VolumeRecord, sizeBytes: number): Promise<void> {
    await this.#cluster.heads.grow(volume, sizeBytes);
    for (const { id } of await this.#replicasOf(volume)) await this.#resizeReplica(id, sizeBytes);
  }

  async #resizeReplica(id: string, sizeBytes: number): Promise<void> {
    const { records } = this.#parts;
    await decideAgain(async () => {
      const kept = await records.replica(id);
      if (kept === undefined || kept.record.sizeBytes >= sizeBytes) return;
      const key = `replica/${id}`;
      await records.change({
        conditions: [{ key, version: kept.version }],
        puts: [{ key, record: { ...kept.record, sizeBytes } }],
      });
    });
  }

  /** Where it never was attached, nobody can have written. */
  isBlank({ lastAttachedAtMs, wasMounted }: VolumeRecord): Promise<boolean> {
    return Promise.resolve(lastAttachedAtMs === undefined && wasMounted !== true);
  }

  /** With what the head says, where that is here. */
  async status({ id: uuid, attachment }: VolumeRecord): Promise<JsonObject | undefined> {
    const { engine, node } = this.#parts;
    const status = (await replicatedStatuses(this.#parts, [uuid])).get(uuid);
    if (attachment?.node !== node) return status;
    const bounds = { waitMs: 1000, silenceMs: 2000 };
    const head = await engine.call('head.status', { uuid }, bounds).catch(() => undefined);
    return { ...status, ...(head === undefined ? {} : withHead(status, head)) };
  }

  async #replicasOf({ id }: VolumeRecord): Promise<readonly ReplicaRecord[]> {
    const replicas = await this.#parts.records.replicas();
    return replicas.filter(({ volumeId }) => volumeId === id);
  }
}

/** What is known here of volumes with replicas, by volume id: of the space that they take only where one of the replicas is here. */
export async function replicatedStatuses(
  { records, engine, node }: ControlParts,
  ids: readonly string[],
): Promise<ReadonlyMap<string, JsonObject>> {
  const asked = new Set(ids);
  const here = (await records.replicas()).filter(
    (each) => each.node === node && each.state === 'ready' && asked.has(each.volumeId),
  );
  const byReplica = await engineStatuses(
    engine,
    here.map(({ id }) => id),
  );
  const allocated = new Map(
    here.map(({ id, volumeId }) => [volumeId, byReplica.get(formatUuid(id))?.['allocatedBytes']]),
  );
  const statuses = new Map<string, JsonObject>();
  const sets = await records.sets();
  const byVolume = Map.groupBy(await records.replicas(), ({ volumeId }) => volumeId);
  const faulted = new Set(
    (await records.driveUses()).flatMap(({ drive, state }) => (state === 'faulted' ? [drive] : [])),
  );
  for (const { id: uuid, replication, attachment } of await records.volumes()) {
    if (replication === undefined || !asked.has(uuid)) continue;
    const allocatedBytes = allocated.get(uuid);
    statuses.set(uuid, {
      uuid,
      state: attachment === undefined ? 'idle' : 'attached',
      ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
      replicas: (byVolume.get(uuid) ?? []).map((replica) =>
        replicaStatus(replica, { sets, faulted }),
      ),
    });
  }
  return statuses;
}

function replicaStatus(
  { id, volumeId, node, drive, state }: ReplicaRecord,
  { sets, faulted }: { readonly sets: SetsSeen; readonly faulted: ReadonlySet<string> },
): { readonly [name: string]: string } {
  if (state !== 'ready') return { id, node, drive, state };
  if (sets.isMember(volumeId, id)) return { id, node, drive, state: 'synced' };
  return { id, node, drive, state: faulted.has(drive) ? 'faulted' : 'stale' };
}

/** What only the head knows: which replicas are being rebuilt, and why I/O stands still. */
function withHead(status: JsonObject | undefined, head: JsonObject): JsonObject {
  const ofHead = head['replicas'] as readonly JsonObject[];
  const rebuilding = new Set(
    ofHead
      .filter((each) => each['isRebuilding'] === true && each['isConnected'] === true)
      .map((each) => each['replica']),
  );
  const replicas = (status?.['replicas'] ?? []) as readonly JsonObject[];
  const { stalled } = head;
  return {
    replicas: replicas.map((each) =>
      each['state'] === 'stale' && rebuilding.has(formatUuid(String(each['id'])))
        ? { ...each, state: 'rebuilding' }
        : each,
    ),
    ...(typeof stalled === 'string' ? { reason: `I/O stands still: ${stalled}` } : {}),
  };
}
