/**
 * The volumes of this engine's drives, and their attachments. One call at a time for each volume. Those with several replicas are served by
 * their heads (replicas/heads.ts); here it is said how they are.
 */

import type { Log } from '../model/log.ts';
import { Fault, Refusal } from '../model/errors.ts';
import type { DriveStatus, VolumeStatus } from '../store/drive-status.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { formatUuid } from '../model/ids.ts';
import { LIST_COUNT_MAX } from './call-arguments.ts';
import type { Drives, OpenDrive } from './drives.ts';
import type { Meters } from './meters.ts';
import type { Attachment } from './nbd/attachment.ts';
import { type NbdFrontend, ATTACHMENT_COUNT_MAX } from './nbd/frontend.ts';
import type { Heads } from './replicas/heads.ts';
import { Turnstile } from '../lib/turnstile.ts';

export type VolumesOptions = {
  readonly drives: Drives;
  readonly frontend: NbdFrontend;
  readonly heads: Pick<Heads, 'volumes' | 'volumeStatus'>;
  readonly meters: Meters;
  readonly log: Log;
  /** Directory of the volumes' sockets, short enough for one. */
  readonly socketDirectory: string;
  /** Wall time, in ms since 1970: counts are told with when they began. */
  readonly nowMs: number;
};

export class Volumes {
  readonly #drives: Drives;
  readonly #frontend: NbdFrontend;
  readonly #heads: VolumesOptions['heads'];
  readonly #log: Log;
  readonly #socketDirectory: string;
  /** By volume's uuid (32 digits). */
  readonly #attachments = new Map<string, Attachment>();
  readonly #countedSinceMs: number;
  /** Of volumes that were served since the engine started. */
  readonly #meters: Meters;
  readonly #turnstile = new Turnstile();

  constructor(options: VolumesOptions) {
    this.#drives = options.drives;
    this.#frontend = options.frontend;
    this.#heads = options.heads;
    this.#meters = options.meters;
    this.#log = options.log;
    this.#socketDirectory = options.socketDirectory;
    this.#countedSinceMs = options.nowMs;
  }

  create(driveId: string, uuid: string, sizeBytes: number): Promise<JsonObject> {
    return this.#turnstile.enter(uuid, async () => {
      const other = this.#drives.find(uuid);
      if (other !== undefined && other.driveId !== driveId) {
        throw new Refusal('VOLUME_EXISTS', {
          volume: formatUuid(uuid),
          difference: `drive "${other.driveId}"`,
        });
      }
      await this.#drives.get(driveId).createVolume({ uuid, sizeBytes });
      return this.status(uuid);
    });
  }

  delete(uuid: string): Promise<JsonObject> {
    return this.#turnstile.enter(uuid, async () => {
      const found = this.#drives.find(uuid);
      if (found === undefined || found.volume.isReplica) return {};
      if (found.volume.attachId !== undefined || this.#attachments.has(uuid)) {
        throw new Refusal('VOLUME_ATTACHED', { volume: formatUuid(uuid) });
      }
      await found.store.deleteVolume(uuid);
      this.#meters.delete(uuid);
      return {};
    });
  }

  resize(uuid: string, sizeBytes: number): Promise<JsonObject> {
    return this.#turnstile.enter(uuid, async () => {
      const { store, volume } = this.#find(uuid);
      if (sizeBytes < volume.sizeBytes) {
        throw new Refusal('VOLUME_SHRINK', {
          volume: formatUuid(uuid),
          wanted: `${sizeBytes} bytes`,
          actual: `${volume.sizeBytes} bytes`,
        });
      }
      if (sizeBytes > volume.sizeBytes) await store.resizeVolume(uuid, sizeBytes);
      return this.status(uuid);
    });
  }

  /** Records the attachment durably, then serves it. */
  attach(
    uuid: string,
    attachment: { readonly attachId: string; readonly epoch: number },
  ): Promise<JsonObject> {
    return this.#turnstile.enter(uuid, async () => {
      const { store, driveId, volume } = this.#find(uuid);
      const { attachId } = attachment;
      if (volume.attachId !== undefined && volume.attachId !== attachId) {
        throw new Refusal('VOLUME_ATTACHED_OTHERWISE', {
          volume: formatUuid(uuid),
          wanted: `under attach id ${attachId}`,
          actual: `under attach id ${volume.attachId}`,
        });
      }
      await store.setAttachment(uuid, attachment);
      const { socketPath } = await this.#serve({ store, driveId }, uuid, attachId);
      return { socketPath, exportName: attachId };
    });
  }

  /** Drains, flushes and forgets the attachment of this id. Where there is none of this id, it is done. */
  detach(uuid: string, attachId: string): Promise<JsonObject> {
    return this.#turnstile.enter(uuid, async () => {
      const { store, driveId, volume } = this.#find(uuid);
      const attachment = this.#attachments.get(uuid);
      if (attachment !== undefined && attachment.attachId === attachId) {
        const errno = await this.#frontend.close(attachment);
        this.#attachments.delete(uuid);
        if (errno !== 0) {
          throw new Fault('DRIVE_IO', {
            drive: driveId,
            problem: `the last flush of volume "${formatUuid(uuid)}" ended in errno ${errno}`,
          });
        }
      }
      if (volume.attachId === attachId) {
        await store.setAttachment(uuid, { attachId: undefined, epoch: volume.epoch });
        this.#log('volume.detached', { uuid: formatUuid(uuid), attachId });
      }
      return {};
    });
  }

  /** The volumes and replicas of these uuids; those that no open drive holds, nor a head here serves, are left out. */
  listed(uuids: ReadonlySet<string>): JsonObject {
    const held = this.#drives.all().flatMap(({ driveId, store }) => {
      const drive = store.status();
      return [...uuids].flatMap((uuid) => {
        const volume = store.volume(uuid);
        return volume?.state === 'live' ? [this.#describe({ driveId, drive }, volume)] : [];
      });
    });
    const served = [...uuids].flatMap((uuid) => this.#heads.volumeStatus(uuid) ?? []);
    return { volumes: [...held, ...served] };
  }

  /** All volumes, but no replicas, in order of uuid, from the one after `after`; at most {@link LIST_COUNT_MAX}. */
  list(after: string): JsonObject {
    const held = this.#drives
      .all()
      .flatMap(({ store }) => store.volumes())
      .filter(({ state, isReplica }) => state === 'live' && !isReplica)
      .map(({ uuid }) => uuid);
    const all = [...held, ...this.#heads.volumes].filter((uuid) => uuid > after).toSorted();
    return {
      ...this.listed(new Set(all.slice(0, LIST_COUNT_MAX))),
      more: all.length > LIST_COUNT_MAX,
    };
  }

  /** Serves each volume of a drive whose record names an attach id: after a start, and when a drive is opened. */
  async serveRecorded(drive: OpenDrive): Promise<void> {
    for (const { uuid, attachId, state } of drive.store.volumes()) {
      if (attachId === undefined || state !== 'live') continue;
      await this.#turnstile.enter(uuid, async () => {
        try {
          await this.#serve(drive, uuid, attachId);
        } catch (error) {
          this.#log('volume.not_served', {
            uuid: formatUuid(uuid),
            attachId,
            error: String(error),
          });
        }
      });
    }
  }

  /** Whether a volume of this drive is being served. */
  hasAttached(drive: OpenDrive): boolean {
    return drive.store.volumes().some(({ uuid }) => this.#attachments.has(uuid));
  }

  /** Ends all attachments; their volumes' records keep naming them, and the next start serves them again. */
  async closeAll(): Promise<void> {
    await Promise.all(
      [...this.#attachments.keys()].map((uuid) =>
        this.#turnstile.enter(uuid, async () => {
          const attachment = this.#attachments.get(uuid);
          if (attachment === undefined) return;
          const errno = await this.#frontend.close(attachment);
          this.#attachments.delete(uuid);
          if (errno !== 0) this.#log('volume.flush_failed', { uuid, errno });
        }),
      ),
    );
  }

  get attachmentCount(): number {
    return this.#attachments.size;
  }

  get connectionCount(): number {
    return [...this.#attachments.values()].reduce((sum, each) => sum + each.connections.size, 0);
  }

  async #serve(drive: OpenDrive, uuid: string, attachId: string): Promise<Attachment> {
    const serving = this.#attachments.get(uuid);
    if (serving !== undefined) return serving;
    if (this.#frontend.attachments.length >= ATTACHMENT_COUNT_MAX) {
      throw new Refusal('VOLUME_BUSY', {
        volume: formatUuid(uuid),
        operation: `service of ${ATTACHMENT_COUNT_MAX} other volumes by the same engine`,
      });
    }
    const attachment = await this.#frontend.open({
      meter: this.#meters.of(uuid),
      attachId,
      description: `Holdfast volume ${formatUuid(uuid)}`,
      socketPath: `${this.#socketDirectory}/${attachId}.sock`,
      readOnly: false,
      openTarget: (onDone) => drive.store.openTarget(uuid, onDone),
    });
    this.#attachments.set(uuid, attachment);
    this.#log('volume.served', {
      uuid: formatUuid(uuid),
      attachId,
      socketPath: attachment.socketPath,
    });
    return attachment;
  }

  #find(uuid: string): OpenDrive & { readonly volume: VolumeStatus } {
    const found = this.#drives.find(uuid);
    if (found !== undefined && !found.volume.isReplica) return found;
    throw new Refusal('VOLUME_NOT_FOUND', { volume: formatUuid(uuid), hint: '' });
  }

  /** One volume or replica, as {@link listed} has it. */
  status(uuid: string): JsonObject {
    const served = this.#heads.volumeStatus(uuid);
    if (served !== undefined) return served;
    const found = this.#drives.find(uuid);
    if (found === undefined) throw new Refusal('VOLUME_NOT_FOUND', { volume: uuid, hint: '' });
    const { driveId, store, volume } = found;
    return this.#describe({ driveId, drive: store.status() }, volume);
  }

  #describe(
    { driveId, drive }: { readonly driveId: string; readonly drive: DriveStatus },
    volume: VolumeStatus,
  ): JsonObject {
    const attachment = this.#attachments.get(volume.uuid);
    const faulted = drive.state === 'faulted';
    const meter = this.#meters.find(volume.uuid);
    return {
      uuid: formatUuid(volume.uuid),
      number: volume.number,
      driveId,
      sizeBytes: volume.sizeBytes,
      allocatedBytes: volume.allocatedBytes,
      epoch: volume.epoch,
      attachId: volume.attachId,
      socketPath: attachment?.socketPath,
      connections: attachment?.connections.size ?? 0,
      changes: meter?.changeCount ?? 0,
      errors: meter?.errorCount ?? 0,
      countedSinceMs: this.#countedSinceMs,
      state: faulted ? 'faulted' : attachment === undefined ? 'idle' : 'attached',
      reason: faulted ? drive.reason : undefined,
      ...(volume.isReplica ? { isReplica: true } : {}),
    };
  }
}
