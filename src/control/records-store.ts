/** Drives, volumes and their usage, trash, operations, events and settings in the cluster store, by type. */

import {
  type ClusterStore,
  type Entry,
  type JsonValue,
  TRANSACTION_KEYS_MAX,
  type Transaction,
  type WatchEvent,
} from '../metadata/cluster-store.ts';
import { Refusal } from '../model/errors.ts';
import type {
  AliveRecord,
  DriveRecord,
  DriveUseRecord,
  EventRecord,
  GoneRecord,
  JoinRecord,
  NodeRecord,
  OperationRecord,
  PluginRecord,
  ReplicaRecord,
  RequestRecord,
  ScrubRecord,
  TrashRecord,
  UsageRecord,
  VolumeRecord,
} from '../model/records.ts';
import { DEFAULT_SETTINGS, type Settings } from '../model/settings.ts';
import { recordOfJson } from '../peer/record-json.ts';
import type { Record as SetRecord } from '../replication/record.ts';
import { RecordIndex } from './record-index.ts';
import { RecordPaths } from './record-paths.ts';
import { expiredKeys } from './record-expiry.ts';
import { type SetSeen, SetsSeen } from './sets-seen.ts';

export type Kept<R> = { readonly record: R; readonly version: number };

/** Of records that were restored from a backup: {@link Unreported}. */
export const UNREPORTED_KEY = 'meta/unreported';
type Unreported = { readonly nodes: readonly string[] };

export const SETTINGS_KEY = 'settings/installation';
/** Operations that end, or events, until the oldest are dropped: looking for them reads all of them. */
const TRIM_EVERY = 100;

export class RecordsStore {
  readonly #store: ClusterStore;
  readonly #volumes: RecordIndex<VolumeRecord>;
  readonly #usages: RecordIndex<UsageRecord>;
  readonly #replicas: RecordIndex<ReplicaRecord>;
  readonly #sets: RecordIndex<SetSeen>;
  readonly #paths: RecordPaths;
  /** Undefined on a single machine. */
  readonly #node: string | undefined;
  /** Operations that ended and events, since the oldest were dropped. */
  #endedCount = 0;

  /** `directory`: the installation's; `node`: undefined on a single machine. */
  constructor(store: ClusterStore, directory: string, node?: string) {
    this.#store = store;
    this.#node = node;
    this.#paths = new RecordPaths(directory, node);
    this.#replicas = new RecordIndex(store, 'replica/', (value: ReplicaRecord) => value);
    this.#sets = new RecordIndex(store, 'set/', (value: SetSeen) => value);
    this.#volumes = new RecordIndex(store, 'volume/', (value: VolumeRecord) =>
      this.#paths.volume(value),
    );
    this.#usages = new RecordIndex(store, 'usage/', (value: UsageRecord) => value);
  }

  async drive(name: string): Promise<Kept<DriveRecord> | undefined> {
    const found = kept<DriveRecord>(await this.#store.get(`drive/${name}`));
    return found && { ...found, record: this.#paths.drive(found.record) };
  }

  /** Whether this very drive is there, and not another of its name. */
  async isThere({ name, id }: Pick<DriveRecord, 'name' | 'id'>): Promise<boolean> {
    return (await this.drive(name))?.record.id === id;
  }

  /** A volume's set of replicas: docs/replication.md, "State". */
  async set(volumeId: string): Promise<Kept<SetRecord> | undefined> {
    const found = kept<object>(await this.#store.get(`set/${volumeId}`));
    return found && { ...found, record: recordOfJson(found.record) };
  }

  /** Of all volumes; what others have changed, a moment ago. */
  async sets(): Promise<SetsSeen> {
    return new SetsSeen(await this.#sets.getter());
  }

  async scrub(volumeId: string): Promise<ScrubRecord | undefined> {
    return kept<ScrubRecord>(await this.#store.get(`scrub/${volumeId}`))?.record;
  }

  async node(name: string): Promise<Kept<NodeRecord> | undefined> {
    return kept<NodeRecord>(await this.#store.get(`node/${name}`));
  }

  /** In order of name. */
  nodes(): Promise<NodeRecord[]> {
    return this.#all<NodeRecord>('node/');
  }

  async join(id: string): Promise<Kept<JoinRecord> | undefined> {
    return kept<JoinRecord>(await this.#store.get(`join/${id}`));
  }

  /** Join tokens, those too that were used or have ended. */
  joins(): Promise<JoinRecord[]> {
    return this.#all<JoinRecord>('join/');
  }

  /** The version of a record of any kind; 0: it is not there. */
  async versionOf(key: string): Promise<number> {
    return (await this.#store.get(key))?.version ?? 0;
  }

  /** The nodes that live, as far as the store knows. */
  alive(): Promise<AliveRecord[]> {
    return this.#all<AliveRecord>('alive/');
  }

  /** Of the drives of all nodes. */
  driveUses(): Promise<DriveUseRecord[]> {
    return this.#all<DriveUseRecord>('drive-use/');
  }

  /** What a drive's node told of it last. */
  async driveUse(drive: string): Promise<Kept<DriveUseRecord> | undefined> {
    return kept<DriveUseRecord>(await this.#store.get(`drive-use/${drive}`));
  }

  /** The nodes that have yet to say what their replicas know, since the records were restored from a backup. */
  async unreported(): Promise<readonly string[]> {
    const found = kept<Unreported>(await this.#store.get(UNREPORTED_KEY));
    return found?.record.nodes ?? [];
  }

  /** A node has said what its replicas know, or was named as lost. */
  async putReported(node: string): Promise<void> {
    const found = kept<Unreported>(await this.#store.get(UNREPORTED_KEY));
    if (found === undefined || !found.record.nodes.includes(node)) return;
    const nodes = found.record.nodes.filter((each) => each !== node);
    const conditions = [{ key: UNREPORTED_KEY, version: found.version }];
    if (nodes.length === 0) await this.change({ conditions, deletes: [UNREPORTED_KEY] });
    else await this.change({ conditions, puts: [{ key: UNREPORTED_KEY, record: { nodes } }] });
  }

  /** See {@link ClusterStore.grantLease}. */
  grantLease(ttlMs: number): Promise<string> {
    return this.#store.grantLease(ttlMs);
  }

  /** False when the lease has ended. */
  renewLease(leaseId: string): Promise<boolean> {
    return this.#store.renewLease(leaseId);
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#store.revokeLease(leaseId);
  }

  async replica(id: string): Promise<Kept<ReplicaRecord> | undefined> {
    return kept<ReplicaRecord>(await this.#store.get(`replica/${id}`));
  }

  /** Of all nodes; what others have changed, a moment ago. */
  replicas(): Promise<readonly ReplicaRecord[]> {
    return this.#replicas.all();
  }

  /** As the store has them now: for what is decided on versions that were read just before. */
  replicasNow(): Promise<ReplicaRecord[]> {
    return this.#all<ReplicaRecord>('replica/');
  }

  async volume(name: string): Promise<Kept<VolumeRecord> | undefined> {
    const found = kept<VolumeRecord>(await this.#store.get(`volume/${name}`));
    return found && { ...found, record: this.#paths.volume(found.record) };
  }

  /** This node's. */
  async drives(): Promise<DriveRecord[]> {
    return (await this.everyDrive()).filter(({ node }) => node === this.#node);
  }

  /** Of all nodes, in order of name. */
  async everyDrive(): Promise<DriveRecord[]> {
    return (await this.#all<DriveRecord>('drive/')).map((record) => this.#paths.drive(record));
  }

  /** Follows the store no longer. To be called before that is closed. */
  close(): void {
    for (const index of this.#indexes()) index.forget();
  }

  #indexes() {
    return [this.#volumes, this.#usages, this.#replicas, this.#sets];
  }

  /** In order of name. */
  volumes(): Promise<readonly VolumeRecord[]> {
    return this.#volumes.all();
  }

  /** By volume id. */
  async usages(): Promise<ReadonlyMap<string, UsageRecord>> {
    const usages = await this.#usages.all();
    return new Map(usages.map((usage) => [usage.volumeId, usage]));
  }

  usage(volumeId: string): Promise<UsageRecord | undefined> {
    return this.#usages.get(volumeId);
  }

  /** The newest first. */
  async trash(): Promise<TrashRecord[]> {
    return (await this.keptTrash()).map(({ record }) => record);
  }

  /** The newest first, with versions. */
  async keptTrash(): Promise<Kept<TrashRecord>[]> {
    const { entries } = await this.#store.list('trash/');
    return entries
      .flatMap((entry) => kept<TrashRecord>(entry) ?? [])
      .toSorted((a, b) => b.record.removedAtMs - a.record.removedAtMs);
  }

  async trashed(volumeId: string): Promise<Kept<TrashRecord> | undefined> {
    return kept<TrashRecord>(await this.#store.get(`trash/${volumeId}`));
  }

  /** Volumes that drives have still and no record tells of. */
  gone(): Promise<GoneRecord[]> {
    return this.#all<GoneRecord>('gone/');
  }

  async settings(): Promise<Settings> {
    const changed = kept<Partial<Settings>>(await this.#store.get(SETTINGS_KEY))?.record;
    return { ...DEFAULT_SETTINGS, ...changed };
  }

  async operations(): Promise<OperationRecord[]> {
    return this.#all<OperationRecord>('operation/');
  }

  async operation(id: string): Promise<OperationRecord | undefined> {
    return kept<OperationRecord>(await this.#store.get(`operation/${id}`))?.record;
  }

  async request(key: string): Promise<RequestRecord | undefined> {
    return kept<RequestRecord>(await this.#store.get(`request/${key}`))?.record;
  }

  async events(): Promise<EventRecord[]> {
    const events = await this.#all<EventRecord>('event/');
    return events.toSorted((a, b) => b.atMs - a.atMs);
  }

  /** In order of name. */
  async plugins(): Promise<PluginRecord[]> {
    return this.#all<PluginRecord>('plugin/');
  }

  /** The store's revision now. */
  async revision(): Promise<number> {
    return (await this.#store.list('meta/')).revision;
  }

  /**
   * Every change after `revision`, until `signal` aborts; what is read when it is told has it. Throws STORE_COMPACTED where history does
   * not reach back so far.
   */
  async *watch(revision: number, signal: AbortSignal): AsyncGenerator<WatchEvent, void> {
    for await (const event of this.#store.watch('', revision, signal)) {
      // Their own watches can be seconds behind, as after a cut: whoever looks because of this change would not see it, and not look again.
      for (const index of this.#indexes()) await index.told(event);
      yield event;
    }
  }

  async #all<R>(prefix: string): Promise<R[]> {
    const { entries } = await this.#store.list(prefix);
    return entries
      .map((entry) => kept<R>(entry))
      .flatMap((item) => (item === undefined ? [] : [item.record]));
  }

  /**
   * Puts or deletes records in one transaction, and now and then drops the oldest operations and events. Resolves with its revision: the version of what was put. Throws STORE_CONFLICT when one of
   * `conditions` does not hold.
   */
  async change(change: {
    readonly conditions?: Transaction['conditions'];
    readonly puts?: readonly {
      readonly key: string;
      readonly record: object;
      readonly leaseId?: string;
    }[];
    readonly deletes?: readonly string[];
  }): Promise<number> {
    const puts = (change.puts ?? []).map(({ key, record, leaseId }) => {
      // Undefined fields are absent in JSON, and absent fields are undefined: the types say the same of both.
      const value: JsonValue = JSON.parse(JSON.stringify(this.#paths.toKept(key, record)));
      return { key, value, ...(leaseId === undefined ? {} : { leaseId }) };
    });
    const { conditions = [], deletes = [] } = change;
    const result = await this.#store
      .transact({ conditions, puts, deletes })
      .catch((error: unknown) => {
        // It may have taken effect: what is read next from the store tells.
        for (const index of this.#indexes()) index.forget();
        throw error;
      });
    if (result.kind === 'conflict') throw new Refusal('STORE_CONFLICT', { key: result.key });
    for (const index of this.#indexes()) await index.committed(result, { puts, deletes });
    const ends = (change.puts ?? []).flatMap(({ key, record }) => endOf(key, record) ?? []);
    this.#endedCount += ends.length;
    if (this.#endedCount >= TRIM_EVERY) {
      this.#endedCount = 0;
      await this.trim(Math.max(...ends));
    }
    return result.revision;
  }

  /** Puts and deletes records that do not depend on each other, in as many transactions as they take. */
  async changeEach(change: {
    readonly puts?: readonly { readonly key: string; readonly record: object }[];
    readonly deletes: readonly string[];
  }): Promise<void> {
    const { puts = [], deletes } = change;
    for (let at = 0; at < Math.max(puts.length, deletes.length); at += TRANSACTION_KEYS_MAX / 2) {
      const end = at + TRANSACTION_KEYS_MAX / 2;
      await this.change({ puts: puts.slice(at, end), deletes: deletes.slice(at, end) });
    }
  }

  /** Puts a volume in the place of the one that was read in `version`. Throws STORE_CONFLICT where that is another by now. */
  putVolume(record: VolumeRecord, version: number): Promise<Kept<VolumeRecord>> {
    return this.#putOn(`volume/${record.name}`, { record, version });
  }

  /** The same of a drive. */
  putDrive(record: DriveRecord, version: number): Promise<Kept<DriveRecord>> {
    return this.#putOn(`drive/${record.name}`, { record, version });
  }

  async #putOn<R extends object>(key: string, { record, version }: Kept<R>): Promise<Kept<R>> {
    const conditions = [{ key, version }];
    return { record, version: await this.change({ conditions, puts: [{ key, record }] }) };
  }

  /** Puts an operation that has ended. */
  async putEnded(record: OperationRecord): Promise<void> {
    await this.change({ puts: [{ key: `operation/${record.id}`, record }] });
  }

  async putEvent(record: EventRecord): Promise<void> {
    await this.change({ puts: [{ key: `event/${record.id}`, record }] });
  }

  /** Drops what is kept no longer: see {@link expiredKeys}. */
  async trim(nowMs: number): Promise<void> {
    const requests = await this.#all<RequestRecord>('request/');
    const operations = await this.operations();
    const events = await this.events();
    await this.changeEach({ deletes: expiredKeys({ requests, operations, events }, nowMs) });
  }
}

/** When an operation ended, or an event was; undefined: it is neither. */
function endOf(key: string, record: Partial<OperationRecord & EventRecord>): number | undefined {
  if (key.startsWith('event/')) return record.atMs;
  return key.startsWith('operation/') ? record.endedAtMs : undefined;
}

function kept<R>(entry: Entry | undefined): Kept<R> | undefined {
  return entry === undefined
    ? undefined
    : { record: entry.value as unknown as R, version: entry.version };
}
