/** What control does as a node of a cluster: docs/cluster.md. */

import type { JsonValue } from '../../metadata/cluster-store.ts';
import { Refusal } from '../../model/errors.ts';
import type { ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import type { ClusterNode } from '../../env/node/node-identity.ts';
import type { ControlParts } from '../parts.ts';
import { isConflict } from '../conflicts.ts';
import { DriveUseKeeper } from './drive-use-keeper.ts';
import { joinsOf, type JoinServer } from './join-server.ts';
import { HeadKeeper } from './head-keeper.ts';
import { HeadRequests } from './head-requests.ts';
import { Nodes } from './nodes.ts';
import { clearLeft } from './overtaken.ts';
import type { OwnMembers } from './own-members.ts';
import { type PlacedVolume, clusterOf, placeNew } from './placing.ts';
import { RecordWatch } from './record-watch.ts';
import { Rebuilds } from './rebuilds.ts';
import { RepairKeeper } from './repair-keeper.ts';
import { ReplicaKeeper } from './replica-keeper.ts';
import { ReplicaReport } from './replica-report.ts';
import { ScrubKeeper } from './scrub-keeper.ts';
import { takeOver } from './take-over.ts';
import { ThisNode } from './this-node.ts';

/** After what could not be done because a process was away. */
const RETRY_MS = 1000;

export class Cluster {
  readonly #parts: ControlParts;
  readonly node: ThisNode;
  readonly members: OwnMembers | undefined;
  readonly watch: RecordWatch;
  readonly heads: HeadKeeper;
  readonly #headRequests: HeadRequests;
  readonly nodes: Nodes;
  readonly #repairs: RepairKeeper;
  readonly scrubs: ScrubKeeper;
  readonly #rebuilds: Rebuilds;
  readonly #driveUses: DriveUseKeeper;
  readonly #replicas: ReplicaKeeper;
  readonly #report: ReplicaReport;
  /** Undefined where the key of the authority is not here. */
  readonly #joins: JoinServer | undefined;
  #retry: NodeJS.Timeout | undefined;

  /** `members`: undefined where the records are not in an etcd of the cluster's own. */
  constructor(parts: ControlParts, identity: ClusterNode, members: OwnMembers | undefined) {
    this.#parts = parts;
    this.members = members;
    this.#joins = joinsOf(parts, identity);
    this.node = new ThisNode(parts, identity, this.#joins?.address);
    this.watch = new RecordWatch(parts.records, parts.log);
    this.heads = new HeadKeeper(parts, this.node);
    this.#headRequests = new HeadRequests(parts, {
      node: this.node.name,
      heads: this.heads,
      onSetChange: () => this.#rebuilds.lookSoon(),
    });
    this.#replicas = new ReplicaKeeper(parts, this.node.name);
    this.#report = new ReplicaReport(parts, this.node.name);
    const mine = { node: this.node.name, watch: this.watch };
    this.nodes = new Nodes(parts, mine);
    this.#rebuilds = new Rebuilds(parts, { heads: this.heads, nodes: this.nodes });
    this.#repairs = new RepairKeeper(parts, { nodes: this.nodes, watch: this.watch });
    this.#driveUses = new DriveUseKeeper(parts, this.node.name);
    this.scrubs = new ScrubKeeper(parts);
    this.watch.onChange((key, value) => this.#onChange(key, value));
  }

  /** Resolves when the others may count on this node; the rest follows. */
  async start(): Promise<void> {
    this.watch.start();
    await this.nodes.start();
    this.#headRequests.start();
    this.#repairs.start();
    this.scrubs.start();
    this.#driveUses.start();
    await this.#joins?.start();
    this.members?.start();
    void this.onEngine();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    this.#joins?.stop();
    await this.members?.stop();
    this.#headRequests.stop();
    await this.#repairs.stop();
    await this.scrubs.stop();
    await this.#driveUses.stop();
    await this.#rebuilds.stop();
    await this.nodes.stop();
    await this.watch.stop();
  }

  /** The engine came: it has no heads if it started anew, and knows no addresses. */
  async onEngine(): Promise<void> {
    await this.#trying(async () => {
      await this.node.meetEngine();
      await this.#report.run();
      await this.heads.onAllSets();
      // Somebody waits for it: what is to be made or taken away comes later.
      const served = await this.#serveAttached();
      await this.#replicas.settleAll();
      this.#rebuilds.lookSoon();
      await clearLeft(this.#parts);
      const failed = served.find((each) => each.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    });
  }

  /** Heads of volumes that are attached here start again, under the attachments that they had. */
  async #serveAttached(): Promise<readonly PromiseSettledResult<void>[]> {
    const { records, turnstile } = this.#parts;
    const here = (await records.volumes()).filter(
      ({ attachment }) => attachment?.node === this.node.name,
    );
    return await Promise.allSettled(
      here.map(({ name }) => turnstile.enter(`volume/${name}`, () => this.#serveAgain(name))),
    );
  }

  async #serveAgain(name: string): Promise<void> {
    const volume = (await this.#parts.records.volume(name))?.record;
    const attachment = volume?.attachment;
    if (volume === undefined || attachment?.state !== 'attached') return;
    if (attachment.node !== this.node.name) return;
    await this.heads.serve(volume, attachment).catch((error: unknown) => {
      // Its user is told as soon as it is used, or asked about.
      if (!(error instanceof Refusal) || error.code !== 'VOLUME_SESSION_OVER') throw error;
    });
  }

  #onChange(key: string | undefined, value: JsonValue | undefined): void {
    if (key === undefined) void this.onEngine();
    else if (key.startsWith('replica/')) {
      void this.#trying(() => this.#replicas.settle(key.slice('replica/'.length)));
      if (value !== undefined)
        void this.#trying(() => this.heads.onReplica(value as unknown as ReplicaRecord));
      this.#rebuilds.lookSoon();
    } else if (key.startsWith('set/')) {
      void this.#trying(() => this.heads.onSet(key.slice('set/'.length)));
    } else if (key.startsWith('node/')) void this.#trying(() => this.node.tellPeers());
  }

  /** Does it; what could not be done is tried again, with all else. */
  async #trying(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#parts.log('cluster.put_off', { error: error.message });
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => void this.onEngine(), RETRY_MS);
    }
  }

  /**
   * Records a new volume with its replicas, which are yet to be made, and what else `puts` has. The records of their drives are written as
   * they are: a removal of one that has not seen the replica then conflicts. Throws VOLUME_NO_PLACE.
   */
  async place(
    volume: VolumeRecord & PlacedVolume,
    puts: readonly { readonly key: string; readonly record: object }[],
  ): Promise<void> {
    const { records, turnstile } = this.#parts;
    const key = `volume/${volume.name}`;
    // Of several at once here, each sees where those before it went.
    await turnstile.enter('placing replicas', async () => {
      for (;;) {
        const replicas = await this.#choosePlaces(volume);
        const kept = await Promise.all(replicas.map(({ drive }) => records.drive(drive)));
        const drives = kept.filter((each) => each !== undefined);
        try {
          await records.change({
            conditions: [
              { key, version: 0 },
              ...drives.map(({ record, version }) => ({ key: `drive/${record.name}`, version })),
            ],
            puts: [
              { key, record: volume },
              ...drives.map(({ record }) => ({ key: `drive/${record.name}`, record })),
              ...replicas.map((record) => ({ key: `replica/${record.id}`, record })),
              ...puts,
            ],
          });
          return;
        } catch (error) {
          if (!isConflict(error) || (await records.volume(volume.name)) !== undefined) throw error;
        }
      }
    });
  }

  async #choosePlaces(volume: PlacedVolume): Promise<readonly ReplicaRecord[]> {
    const cluster = await clusterOf(this.#parts.records, this.nodes);
    const localTo = volume.replication.local ? this.node.name : undefined;
    return placeNew(cluster, volume, localTo).map((drive) => ({
      id: this.#parts.newAttachId(),
      volume: volume.name,
      volumeId: volume.id,
      node: cluster.spaces.get(drive)?.node.name ?? '',
      drive,
      sizeBytes: volume.sizeBytes,
      state: 'creating',
    }));
  }

  /** See {@link takeOver}. */
  takeOver(name: string, isAtRest: (volume: VolumeRecord) => boolean): Promise<void> {
    const { watch, nodes } = this;
    return takeOver(name, { parts: this.#parts, watch, nodes, isAtRest });
  }

  /** Throws VOLUME_ELSEWHERE where another node settles the volume, in words of what is asked for. */
  refuseElsewhere(volume: VolumeRecord, action: string): void {
    const { attachment, name } = volume;
    if (attachment?.node === undefined || attachment.node === this.node.name) return;
    throw new Refusal('VOLUME_ELSEWHERE', { action, volume: name, node: attachment.node });
  }
}
