/** The replicas on this engine's drives: served as their drives are opened, ended as these are closed, made and deleted as control asks. */

import { Fault, Refusal } from '../../model/errors.ts';
import { formatUuid } from '../../model/ids.ts';
import type { Log } from '../../model/log.ts';
import type { ReplicaId } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { Drives, OpenDrive } from '../drives.ts';
import type { Replicas } from './replicas.ts';

export type DriveReplicasOptions = {
  readonly replicas: Replicas;
  readonly drives: Drives;
  readonly log: Log;
};

export class DriveReplicas {
  readonly #options: DriveReplicasOptions;

  constructor(options: DriveReplicasOptions) {
    this.#options = options;
  }

  /** Serves what a drive holds: after it was opened. One that cannot be read is told of, and left. */
  open({ driveId, store }: OpenDrive): void {
    const { replicas, log } = this.#options;
    for (const { uuid, state, isReplica } of store.volumes()) {
      if (!isReplica || state !== 'live' || replicas.content(uuid) !== undefined) continue;
      try {
        replicas.open(uuid, store);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        log('replica.not_opened', { driveId, replica: uuid, error: error.message });
      }
    }
  }

  /** A drive is about to be closed: what heads have of it they lose. {@link forget} follows. */
  end({ store }: OpenDrive): readonly ReplicaId[] {
    const ids = store.volumes().flatMap(({ uuid, isReplica }) => (isReplica ? [uuid] : []));
    for (const id of ids) this.#options.replicas.end(id);
    return ids;
  }

  /** After the drive was closed. */
  forget(ids: readonly ReplicaId[]): void {
    for (const id of ids) this.#options.replicas.forget(id);
  }

  /**
   * Makes one on a drive, durably, empty and never opened: the same call again finds it. Resolves with the drive's life. Throws
   * DRIVE_NOT_FOUND, and what the drive refuses.
   */
  async create(driveId: string, uuid: ReplicaId, sizeBytes: number): Promise<JsonObject> {
    const { drives, replicas } = this.#options;
    const store = drives.get(driveId);
    await store.createVolume({ uuid, sizeBytes, isReplica: true });
    if (replicas.content(uuid) === undefined) replicas.open(uuid, store);
    return { uuid: formatUuid(uuid), driveId, life: store.life };
  }

  /** Deletes one. Where there is none it is done. Throws VOLUME_NOT_FOUND for a volume that is no replica. */
  async delete(uuid: ReplicaId): Promise<JsonObject> {
    const { drives, replicas } = this.#options;
    const found = drives.find(uuid);
    if (found === undefined) return {};
    if (!found.volume.isReplica) throw new Refusal('VOLUME_NOT_FOUND', { volume: uuid, hint: '' });
    replicas.end(uuid);
    await found.store.deleteVolume(uuid);
    replicas.forget(uuid);
    return {};
  }
}
