/** The heads of this node's engine: starts and ends them, and changes sets that have none. What they ask for is seen to by head-requests.ts. */

import { recordJson } from '../../peer/record-json.ts';
import {
  type HeadId,
  attached,
  detached,
  resized,
  withMinimum,
  isNewer,
  lossAccepted,
} from '../../replication/record.ts';
import type { Record as SetRecord } from '../../replication/record.ts';
import { Refusal } from '../../model/errors.ts';
import type { AttachmentRecord, ReplicaRecord, VolumeRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { type ControlParts, tell } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { putSet } from './put-set.ts';
import { reportOf } from './replica-report.ts';
import { type StoredKey, type StoredVolume, storedVolume } from './stored-volumes.ts';
import type { ThisNode } from './this-node.ts';

type Service = {
  readonly attachId: string;
  /** Whether it is still to be served so. */
  readonly isWanted: (volume: VolumeRecord) => boolean;
  /** It may not have been in the set yet; one that was, and is not, has been ended. */
  readonly isNew: boolean;
  /** Whether who uses it can have outlived the head before. */
  readonly clientMayLive: boolean;
  readonly acceptLoss?: boolean;
};

export class HeadKeeper {
  readonly #parts: ControlParts;
  readonly #node: ThisNode;
  /** Attach ids of heads that serve nobody. */
  readonly tending: Set<string> = new Set();
  /** Ids of volumes that have a head here, or had one. */
  readonly #served = new Set<string>();

  constructor(parts: ControlParts, node: ThisNode) {
    this.#parts = parts;
    this.#node = node;
  }

  /**
   * Has the engine serve a volume under an attachment of this node: a head before it is fenced by the set's record. Served already, it is so
   * still. Throws VOLUME_SESSION_OVER where the attachment was ended in the set, since what its client wrote may be lost.
   */
  serve(
    { name }: VolumeRecord,
    { attachId, socketPath, state, acceptLoss = false }: AttachmentRecord,
  ): Promise<JsonObject> {
    return this.#serve(`volume/${name}`, {
      attachId,
      isWanted: (volume) => volume.attachment?.attachId === attachId,
      isNew: socketPath === undefined,
      clientMayLive: state === 'attached',
      acceptLoss,
    });
  }

  /** The same for nobody: a head that makes replicas equal while the volume is not attached. Whoever attaches it takes it over. */
  tend(
    { key }: StoredVolume,
    tending: { readonly attachId: string; readonly isNew: boolean },
  ): Promise<JsonObject> {
    this.tending.add(tending.attachId);
    return this.#serve(key, {
      ...tending,
      isWanted: (volume) => volume.attachment === undefined && volume.state === 'ready',
      clientMayLive: false,
    });
  }

  async #serve(key: StoredKey, how: Service): Promise<JsonObject> {
    const { records, engine, bootId } = this.#parts;
    const { attachId } = how;
    let clientLives = how.clientMayLive;
    const start = await this.#node.meetEngine();
    const unreported = await records.unreported();
    if (unreported.length > 0) {
      const volume = (await storedVolume(records, key))?.record.name ?? key;
      throw new Refusal('NODES_UNREPORTED', { volume, nodes: unreported.join(', ') });
    }
    for (;;) {
      const wanted = await storedVolume(records, key);
      // Attached elsewhere by force since: that one's must not be taken away again.
      if (wanted === undefined || !how.isWanted(wanted.record)) {
        throw new Refusal('STORE_CONFLICT', { key });
      }
      const { record: volume, version } = wanted;
      const kept = await this.#set(volume);
      const { record } = kept;
      const isAnother = record.attachment?.attachId !== attachId;
      if (isAnother && !how.isNew)
        throw new Refusal('VOLUME_SESSION_OVER', { volume: volume.name });
      if (isAnother || record.attachment?.boot !== bootId) {
        // Who used it in an earlier run of the machine is gone; whoever does in this one must not be taken for gone.
        clientLives = false;
        const isLossAccepted = isAnother && how.acceptLoss === true;
        const from = isLossAccepted ? await this.#lossAccepted(volume, record) : record;
        const next = attached(from, { attachId, boot: bootId }, this.#parts.newAttachId());
        await putSet(this.#parts.records, volume.id, {
          kept,
          next,
          conditions: [{ key, version }],
        });
        this.#parts.onStep('volume.attach: in the set');
        continue;
      }
      const replicas = (await records.replicas()).filter(({ volumeId }) => volumeId === volume.id);
      const local = replicas.find(({ node }) => node === this.#node.name)?.id;
      const head: HeadId = { engine: this.#node.name, start, attempt: record.epoch };
      this.#served.add(volume.id);
      return engine.call('head.start', {
        uuid: volume.id,
        attachId,
        record: recordJson(record),
        head,
        ...(local === undefined ? {} : { local }),
        places: Object.fromEntries(replicas.map(({ id, node }) => [id, node])),
        clientLives,
      });
    }
  }

  /** The record of a new lineage, whose set is the replica on this node as it is: rule 13 of design.md, section 3. */
  async #lossAccepted(volume: VolumeRecord, record: SetRecord): Promise<SetRecord> {
    const replicas = await this.#parts.records.replicas();
    const local = replicas.find(
      ({ volumeId, node, state }) =>
        volumeId === volume.id && node === this.#node.name && state === 'ready',
    );
    const report = local && (await reportOf(this.#parts.engine, local.id));
    if (report === undefined) {
      const problem = `the replica of volume "${volume.name}" here is not open`;
      throw new Refusal('REPLICAS_INVALID', { wanted: 'the replica here', problem });
    }
    const { id: replica, life, seen } = report;
    const newest = seen !== undefined && isNewer(seen, record) ? seen : record;
    const random = Number.parseInt(this.#parts.newAttachId().slice(0, 8), 16);
    const next = lossAccepted(newest, {
      replica,
      life,
      lineage: newest.lineage + 1 + random,
      writer: this.#parts.newAttachId(),
    });
    await tell(this.#parts, 'volume.loss_accepted', {
      subject: `volume/${volume.name}`,
      what: `Volume "${volume.name}" is served from its replica on node "${this.#node.name}" as it is`,
      cause: 'an operator accepted the loss of what that lacks; all others are made anew from it',
    });
    return next;
  }

  /** Ends an attachment: its clients' requests are over, and durable. */
  async release(
    volume: VolumeRecord,
    { attachId }: Pick<AttachmentRecord, 'attachId'>,
  ): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid: volume.id, attachId });
    this.#parts.onStep('volume.detach: head ended');
    // There was no head: its engine has started anew, or never came so far.
    for (;;) {
      const kept = await this.#parts.records.set(volume.id);
      if (kept?.record.attachment?.attachId !== attachId) return;
      await putSet(this.#parts.records, volume.id, {
        kept,
        next: detached(kept.record, this.#parts.newAttachId()),
      });
    }
  }

  /** Ends a head of this node at once: what its clients still want fails, and nothing is flushed. {@link release} follows. */
  async end({ id: uuid }: VolumeRecord, { attachId }: AttachmentRecord): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid, attachId, force: true });
  }

  /** Ends a head that tends a volume. One that stands still is left: it cannot end in order, and whoever attaches the volume overtakes it. */
  async endTending({ key, volume: { id } }: StoredVolume, attachId: string): Promise<void> {
    const { records, engine } = this.#parts;
    const head = await engine.call('head.status', { uuid: id }).catch((error: unknown) => {
      if (error instanceof Refusal && error.code === 'VOLUME_NOT_ATTACHED') return undefined;
      throw error;
    });
    if (head?.['attachId'] === attachId) {
      if (head['state'] !== 'serving' || head['stalled'] !== null) return;
      // Restored records may not know of an attachment that goes on.
      if (head['connections'] !== 0) return;
      await engine.call('head.detach', { uuid: id, attachId });
    }
    // There was none: its engine has started anew, or it is another's, and away.
    const [volume, kept] = [await storedVolume(records, key), await records.set(id)];
    if (volume === undefined || volume.record.attachment !== undefined) return;
    if (kept?.record.attachment?.attachId !== attachId) return;
    await putSet(this.#parts.records, id, {
      kept,
      next: detached(kept.record, this.#parts.newAttachId()),
      conditions: [{ key, version: volume.version }],
    });
  }

  /** Makes a volume larger, which is attached here or nowhere. */
  async grow({ name, id, attachment }: VolumeRecord, sizeBytes: number): Promise<void> {
    const { records, engine, newAttachId } = this.#parts;
    if (attachment !== undefined) {
      await engine.call('head.grow', { uuid: id, sizeBytes });
      return;
    }
    for (;;) {
      const key = `volume/${name}`;
      const volume = await records.volume(name);
      // Attached since: who has it must not be taken for one that tends it.
      if (volume === undefined || volume.record.attachment !== undefined) {
        throw new Refusal('STORE_CONFLICT', { key });
      }
      const kept = await this.#set(volume.record);
      const { record } = kept;
      if (record.sizeBytes >= sizeBytes) return;
      const writer = newAttachId();
      // One that tends it is overtaken.
      const isTended = record.attachment !== undefined;
      const next = isTended ? detached(record, writer) : resized(record, sizeBytes, writer);
      await putSet(this.#parts.records, id, {
        kept,
        next,
        conditions: [{ key, version: volume.version }],
      });
    }
  }

  /** S of a volume that is not attached is to have so many members, which it has. */
  async setMinimum(volume: VolumeRecord, minimum: number): Promise<void> {
    const kept = await this.#set(volume);
    const { record } = kept;
    // One that is tended has a head, which is asked once more when it is gone.
    if (record.attachment !== undefined || record.members.size < minimum) return;
    await putSet(this.#parts.records, volume.id, {
      kept,
      next: withMinimum(record, minimum, this.#parts.newAttachId()),
    });
  }

  /**
   * The set of a volume was changed by somebody. A head here that was overtaken, and is cut off from all replicas, is told; one that tends a
   * volume that is no more is ended.
   */
  async onSet(volumeId: string): Promise<void> {
    if (!this.#served.has(volumeId)) return;
    const { records, engine } = this.#parts;
    const set = (await records.set(volumeId))?.record;
    try {
      if (set !== undefined) {
        await engine.call('head.record', { uuid: volumeId, record: recordJson(set) });
        return;
      }
      const attachId = String((await engine.call('head.status', { uuid: volumeId }))['attachId']);
      if (!this.tending.has(attachId)) return;
      await engine.call('head.detach', { uuid: volumeId, attachId, force: true });
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'VOLUME_NOT_ATTACHED') throw error;
      this.#served.delete(volumeId);
    }
  }

  /** Tells a head here where a replica of its volume is: another node may have adopted its drive, and the head waits where it was. */
  async onReplica({ id: replica, volumeId: uuid, node, state }: ReplicaRecord): Promise<void> {
    if (state !== 'ready' || !this.#served.has(uuid)) return;
    await this.#parts.engine.call('head.place', { uuid, replica, node }).catch((error: unknown) => {
      if (!(error instanceof Refusal) || error.code !== 'VOLUME_NOT_ATTACHED') throw error;
    });
  }

  /** The same of all heads that the engine has, whoever started them: what changed while this control was away. */
  async onAllSets(): Promise<void> {
    const replicas = Map.groupBy(await this.#parts.records.replicas(), ({ volumeId }) => volumeId);
    for (let after = ''; ;) {
      const args = after === '' ? {} : { after };
      const answer = await this.#parts.engine.call('volume.list', args);
      const volumes = answer['volumes'] as readonly JsonObject[];
      for (const { uuid, attachId, driveId } of volumes) {
        if (attachId === undefined || driveId !== undefined) continue;
        this.#served.add(String(uuid));
        await this.onSet(String(uuid));
        for (const replica of replicas.get(String(uuid)) ?? []) await this.onReplica(replica);
      }
      if (answer['more'] !== true) return;
      after =
        volumes
          .map(({ uuid }) => String(uuid))
          .toSorted()
          .at(-1) ?? '';
    }
  }

  async #set({ id, name }: VolumeRecord): Promise<Kept<SetRecord>> {
    const kept = await this.#parts.records.set(id);
    if (kept === undefined) throw new Refusal('VOLUME_LOST', { volume: name });
    return kept;
  }
}
