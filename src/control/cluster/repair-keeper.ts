/**
 * Keeps the replicas of the cluster's volumes as many and as far apart as is wanted of them: does what src/placement decides (docs/placement.md,
 * "Repairs"). One node at a time, the first by name that lives; two for a moment do no harm, since each change is conditional on what it was decided on.
 */

import type { ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import { type Change, GRACE_MS, type Repairs, decideRepairs } from '../../placement/repairs.ts';
import type { ControlParts } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { isConflict } from '../conflicts.ts';
import type { Nodes } from './nodes.ts';
import { PlacedChanges } from './placed-changes.ts';
import { clusterOf } from './placing.ts';
import type { RecordWatch } from './record-watch.ts';
import {
  type StoredKey,
  placedName,
  storedKey,
  storedVolume,
  storedVolumes,
} from './stored-volumes.ts';

/** Copies at a time, in the whole cluster. */
const REBUILDS_MAX = 4;
/** After a change, so that several are looked at together. */
const SETTLE_MS = 200;
/** A grace ends without a change of any record. Where nothing waits for the time a look is only for what was missed. */
const LOOK_EVERY_MS = 5000;
const IDLE_LOOK_EVERY_MS = 60_000;
/** Of a core, spent on decisions: with 20,000 volumes one takes a fifth of a second. */
const LOOK_SHARE = 0.1;
/** One that could not be made is placed anew after so long: where it was, if there is room by then. */
const UNMADE_MS = 60_000;

export class RepairKeeper {
  readonly #parts: ControlParts;
  readonly #nodes: Nodes;
  /** Replicas that could not be made: when that was seen first. */
  readonly #unmade = new Map<string, number>();
  readonly #changes = new PlacedChanges();
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  /** After a look, by what it took. */
  #restMs = 0;
  #looking: Promise<void> = Promise.resolve();
  #isEnding = false;

  constructor(parts: ControlParts, uses: { readonly nodes: Nodes; readonly watch: RecordWatch }) {
    this.#parts = parts;
    this.#nodes = uses.nodes;
    uses.watch.onChange((key, value) => {
      if (key === undefined || this.#changes.isNews(key, value)) this.#lookIn(SETTLE_MS);
    });
  }

  start(): void {
    this.#lookIn(SETTLE_MS);
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #lookIn(ms: number): void {
    const pauseMs = Math.max(ms, this.#restMs);
    const dueMs = performance.now() + pauseMs;
    // A look that comes sooner will see it.
    if (this.#isEnding || (this.#timer !== undefined && this.#dueMs <= dueMs)) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.#looking
        .then(() => this.look())
        .catch((error: unknown) => {
          this.#parts.log('cluster.put_off', { error: String(error) });
          return true;
        })
        .then((isWaiting) => this.#lookIn(isWaiting ? LOOK_EVERY_MS : IDLE_LOOK_EVERY_MS));
    }, pauseMs);
  }

  /** Decides, and does it, if it is this node's turn. False: as long as no record changes there is nothing to do. */
  async look(): Promise<boolean> {
    if (!(await this.#nodes.isFirst())) return true;
    await this.#giveUpUnmade();
    await this.#giveUpOrphans();
    const before = process.cpuUsage();
    const cluster = await clusterOf(this.#parts.records, this.#nodes);
    const repairs = decideRepairs(cluster, {
      nowMs: this.#nodes.nowMs(),
      graceMs: GRACE_MS,
      rebuildsMax: REBUILDS_MAX,
    });
    const { user, system } = process.cpuUsage(before);
    this.#restMs = (user + system) / 1000 / LOOK_SHARE;
    for (const change of repairs.changes) {
      try {
        await this.#apply(change);
      } catch (error) {
        // Decided on what is no longer so: the change that came first has it decided anew.
        if (!isConflict(error)) throw error;
      }
    }
    await this.#admit(repairs);
    const { changes, rebuilds, held } = repairs;
    return changes.length + rebuilds.length + held.length + this.#unmade.size > 0;
  }

  /** Replicas that were added, and that their nodes could not make. Those of a new volume are seen to by whoever creates that. */
  async #giveUpUnmade(): Promise<void> {
    const nowMs = this.#nodes.nowMs();
    for (const { id, state, error, isNew } of await this.#parts.records.replicas()) {
      if (state !== 'creating' || error === undefined || isNew !== true) continue;
      const sinceMs = this.#unmade.get(id) ?? nowMs;
      this.#unmade.set(id, sinceMs);
      if (nowMs - sinceMs < UNMADE_MS) continue;
      this.#unmade.delete(id);
      await this.#giveUp(id);
    }
  }

  /** Replicas that were added to a volume as it was removed. A volume that is not being created has a set, also in the trash. */
  async #giveUpOrphans(): Promise<void> {
    const { records } = this.#parts;
    const volumes = new Set((await records.volumes()).map(({ id }) => id));
    const sets = await records.sets();
    for (const { id, volume: name, volumeId, state } of await records.replicas()) {
      if (state === 'removing' || volumes.has(volumeId)) continue;
      if (sets.minimumOf(volumeId) !== undefined) continue;
      // As the store has it: it may only have been heard of late.
      const volume = await records.volume(name);
      if (volume?.record.id === volumeId) continue;
      await this.#giveUp(id, [
        { key: `set/${volumeId}`, version: 0 },
        { key: `volume/${name}`, version: volume?.version ?? 0 },
      ]);
    }
  }

  /** Its node erases what there is of it. Decided on what is no longer so, it is looked at again. */
  async #giveUp(
    id: string,
    conditions: readonly { readonly key: string; readonly version: number }[] = [],
  ): Promise<void> {
    const kept = await this.#parts.records.replica(id);
    if (kept === undefined) return;
    try {
      await this.#put([{ ...kept, record: { ...kept.record, state: 'removing' } }], { conditions });
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }

  async #apply(change: Change): Promise<void> {
    const key = storedKey(change.volume);
    const volume = await storedVolume(this.#parts.records, key);
    if (volume?.record.state !== 'ready') return;
    const replicas = (await this.#parts.records.replicas()).filter(
      ({ volumeId, state }) => volumeId === volume.record.id && state !== 'removing',
    );
    const on = async (drive: string): Promise<Kept<ReplicaRecord> | undefined> => {
      const found = replicas.find((replica) => replica.drive === drive);
      return found === undefined ? undefined : this.#parts.records.replica(found.id);
    };
    switch (change.kind) {
      case 'add':
        return this.#add({ ...volume, key }, change.drive, []);
      case 'replace':
        return this.#add({ ...volume, key }, change.by, [
          marked(await on(change.drive), 'replaced'),
        ]);
      case 'readmit':
        return this.#put([
          marked(await on(change.drive), undefined),
          marked(await on(change.inPlaceOf), 'moved'),
        ]);
      case 'retire':
        return this.#put([marked(await on(change.drive), 'moved')]);
      case 'remove':
        return this.#remove(volume.record, replicas, await on(change.drive));
    }
  }

  /** The drive's record is written as it is: a removal of it, or another who adds the same, then conflicts; as does a removal of the volume. */
  async #add(
    { record, version, key }: Kept<VolumeRecord> & { readonly key: StoredKey },
    driveName: string,
    changed: readonly (Kept<ReplicaRecord> | undefined)[],
  ): Promise<void> {
    const drive = await this.#parts.records.drive(driveName);
    const node = drive?.record.node;
    if (drive?.record.state !== 'ready' || node === undefined) return;
    const id = this.#parts.newAttachId();
    const { name: volume, id: volumeId, sizeBytes } = record;
    const place = { node, drive: driveName, state: 'creating', isNew: true } as const;
    const added: ReplicaRecord = { id, volume, volumeId, sizeBytes, ...place };
    const driveKey = `drive/${driveName}`;
    await this.#put(changed, {
      conditions: [
        { key, version },
        { key: driveKey, version: drive.version },
      ],
      puts: [
        { key: driveKey, record: drive.record },
        { key: `replica/${id}`, record: added },
      ],
    });
  }

  async #put(
    changed: readonly (Kept<ReplicaRecord> | undefined)[],
    {
      conditions = [],
      puts = [],
    }: {
      readonly conditions?: readonly { readonly key: string; readonly version: number }[];
      readonly puts?: readonly { readonly key: string; readonly record: object }[];
    } = {},
  ): Promise<void> {
    const present = changed.filter((each) => each !== undefined);
    if (present.length < changed.length) return;
    const keyed = present.map(({ record, version }) => {
      return { key: `replica/${record.id}`, record, version };
    });
    await this.#parts.records.change({
      conditions: [...conditions, ...keyed.map(({ key, version }) => ({ key, version }))],
      puts: [...puts, ...keyed.map(({ key, record }) => ({ key, record }))],
    });
  }

  /**
   * Its node erases it; a head whose member it was goes on without, as with one that is gone. What was decided on is a moment old, and the set
   * may have become smaller since: this may be the last copy. So the others that stay are counted in the store, as the store has it.
   */
  async #remove(
    { id, replication }: VolumeRecord,
    replicas: readonly ReplicaRecord[],
    kept: Kept<ReplicaRecord> | undefined,
  ): Promise<void> {
    const set = await this.#parts.records.set(id);
    if (kept === undefined || set === undefined || replication === undefined) return;
    const { record, version } = kept;
    const staying = replicas.filter(
      (each) =>
        each.id !== record.id && each.leaving === undefined && set.record.members.has(each.id),
    );
    if (staying.length < replication.count) return;
    await this.#put([{ version, record: { ...record, state: 'removing' } }], {
      conditions: [{ key: `set/${id}`, version: set.version }],
    });
  }

  /** Says of each replica that lacks something whether it is its turn to be filled, and of each that lacks nothing any more that it is new no longer. */
  async #admit({ rebuilds }: Repairs): Promise<void> {
    const { records } = this.#parts;
    // A replica has the name that its volume was created under; out of the trash that may have come under another.
    const stored = await storedVolumes(records);
    const ids = new Map(stored.map((each) => [placedName(each), each.volume.id]));
    const sets = await records.sets();
    const due = new Set(rebuilds.map(({ volume, drive }) => `${ids.get(volume)} on ${drive}`));
    for (const replica of await records.replicas()) {
      if (replica.state !== 'ready') continue;
      const isMember = sets.isMember(replica.volumeId, replica.id);
      const isDue = !isMember && due.has(`${replica.volumeId} on ${replica.drive}`);
      const isNew = replica.isNew === true && !isMember;
      if (isDue === (replica.isDue ?? false) && isNew === (replica.isNew ?? false)) continue;
      const kept = await records.replica(replica.id);
      if (kept?.record.state !== 'ready') continue;
      try {
        await this.#put([{ ...kept, record: { ...kept.record, isDue, isNew } }]);
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }
}

function marked(
  kept: Kept<ReplicaRecord> | undefined,
  leaving: ReplicaRecord['leaving'],
): Kept<ReplicaRecord> | undefined {
  return kept && { ...kept, record: { ...kept.record, leaving } };
}
