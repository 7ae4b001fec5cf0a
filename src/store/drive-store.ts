/**
 * A drive: volumes on one file or block device. This is the store's face; docs/drive-format.md explains what lies behind it.
 *
 *     client ─► BlockTarget ─► Core (gate, pieces) ─┬─► Reader: map ─► cells, checksum pages
 *                                                   └─► Changer: map, pages ─► log frame + data ─► acknowledged
 *     Flusher: fdatasync, shared · Payloads: logged overwrites to their places · Checkpointer: pages, superblock, log tail
 */

import type { Arena } from '../lib/arena.ts';
import { assert } from '../lib/assert.ts';
import { Turnstile } from '../lib/turnstile.ts';
import { Refusal } from '../model/errors.ts';
import { type BlockTarget, type OnDone } from '../model/block-target.ts';
import type { Env } from '../env/env.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { Core } from './core.ts';
import type { DriveState } from './drive-state.ts';
import type { DriveStatus, RecoveryReport, VolumeStatus } from './drive-status.ts';
import { ioAsyncOf } from './exact.ts';
import { EXTENT_BYTES } from './geometry.ts';
import { growDrive, type GrowOptions } from './grow.ts';
import { formatDrive, type FormatOptions } from './format-drive.ts';
import { type DriveIdentity, identifyDrive } from './identify-drive.ts';
import type { Life } from './life.ts';
import { freeRange } from './own-request.ts';
import type { Client } from './piece.ts';
import { openDrive, type OpenOptions } from './open-drive.ts';
import { beginReplicas } from './begin-replicas.ts';
import { ReplicaVolume } from './replica-volume.ts';
import { SnapshotKeeper } from './snapshots.ts';
import { TableChanges, type TableRecords } from './table-changes.ts';
import { Target } from './target.ts';
import type { TurnKeeper } from './turn-keeper.ts';
import type { VolumeTable } from './volume-table.ts';
import { Volume, checkVolumeSize, wordsHex } from './volume.ts';

/** What `openDrive` puts together. */
export type DriveParts = {
  readonly env: Env;
  readonly path: string;
  readonly drive: DriveState;
  readonly core: Core;
  readonly table: VolumeTable;
  readonly checkpointer: Checkpointer;
  readonly turns: TurnKeeper;
  readonly recovery: RecoveryReport;
  readonly life: Life;
  /** Resolves with the arena address of a metadata page; valid until the next await. */
  readonly load: (page: number) => Promise<number>;
  /** Arena addresses for cold work: LOAD_BYTES of it. */
  readonly scratch: number;
};

/** What {@link DriveStore.createVolume} makes. */
export type NewVolume = {
  readonly uuid: string;
  readonly sizeBytes: number;
  readonly isReplica?: boolean;
};

export class DriveStore {
  readonly #parts: DriveParts;
  readonly #changes: TableChanges;
  readonly #snapshots: SnapshotKeeper;
  /** Volumes being deleted in the background, by uuid. */
  readonly #deleting = new Map<string, Promise<void>>();
  readonly #growths = new Turnstile();
  #closing = false;

  private constructor(parts: DriveParts) {
    this.#parts = parts;
    this.#changes = new TableChanges(parts);
    this.#snapshots = new SnapshotKeeper(parts, this.#changes);
    if (parts.drive.ownersLost) return;
    for (const volume of parts.table.all()) {
      if (volume.state === 'deleting') this.#startDeleting(volume);
      else this.#snapshots.resume(volume);
    }
  }

  /** Makes a drive of a file or block device. See {@link FormatOptions}. */
  static format(
    env: Env,
    options: FormatOptions,
  ): Promise<{ driveUuid: string; sizeBytes: number }> {
    return formatDrive(env, options);
  }

  /**
   * Opens and recovers a drive. Throws Fault DRIVE_CORRUPT when it cannot be served safely, Refusal DRIVE_BUSY when another
   * process holds it. Nothing is written before recovery's final checkpoint.
   */
  static async open(env: Env, options: OpenOptions): Promise<DriveStore> {
    return new DriveStore(await openDrive(env, options));
  }

  /** See {@link identifyDrive}. */
  static identify(
    env: Env,
    options: { readonly path: string; readonly arena: Arena },
  ): Promise<DriveIdentity> {
    return identifyDrive(env, options);
  }

  get uuid(): string {
    return wordsHex(this.#parts.checkpointer.superblock.driveUuid);
  }

  /** Rises when the drive came back having possibly lost what it took: see life.ts. 0 while it never had a replica. */
  get life(): number {
    return this.#parts.checkpointer.superblock.life;
  }

  /**
   * Creates a volume, durably. The same uuid, size and kind again is the same volume. `isReplica`: others hold it too, see {@link openReplica};
   * the first one gives the drive a feature that older builds refuse.
   */
  async createVolume(options: NewVolume): Promise<VolumeStatus> {
    checkVolumeSize(options.sizeBytes);
    for (;;) {
      const made = await this.#changes.alone(({ record }) => this.#create(options, record));
      if (made !== 'being deleted') return made;
      // Not alone: the deletion's last record needs its turn.
      const deletion = this.#deleting.get(options.uuid);
      if (deletion === undefined || this.#closing) {
        throw new Refusal('VOLUME_BUSY', { volume: options.uuid, operation: 'its deletion' });
      }
      await deletion;
    }
  }

  async #create(
    options: NewVolume,
    record: (records: TableRecords) => Promise<void>,
  ): Promise<VolumeStatus | 'being deleted'> {
    const { table } = this.#parts;
    const known = table.byUuid(options.uuid);
    if (known?.state === 'deleting') return 'being deleted';
    const { isReplica = false } = options;
    if (known !== undefined) {
      const isSize = known.sizeBytes === options.sizeBytes;
      const kind = known.marks === undefined ? 'one replica' : 'several replicas';
      if (isSize && (known.marks !== undefined) === isReplica) return this.#statusOf(known);
      const difference = isSize ? kind : `a size of ${known.sizeBytes} bytes`;
      throw new Refusal('VOLUME_EXISTS', { volume: options.uuid, difference });
    }
    if (isReplica) await beginReplicas(this.#parts);
    const volume = new Volume({
      ...options,
      number: table.nextNumber++,
      slot: table.freeSlot(),
      epoch: 0,
      birth: 1,
      attachId: undefined,
    });
    const seen = isReplica ? new Uint8Array() : undefined;
    await record([{ slot: volume.slot, record: table.record(volume, { seen }) }]);
    return this.#statusOf(this.#volume(options.uuid));
  }

  /**
   * Deletes a volume: durable when it resolves; its space comes back in the background. Deleting what is not there is done.
   */
  deleteVolume(uuid: string): Promise<void> {
    const { table } = this.#parts;
    return this.#changes.alone(async ({ record }) => {
      const volume = table.byUuid(uuid);
      if (volume === undefined || volume.state === 'deleting') return;
      const changed = table.record(volume, { state: 'deleting', attachId: undefined });
      await record([{ slot: volume.slot, record: changed }]);
      this.#startDeleting(volume);
    });
  }

  /** Resolves once the space of deleted volumes and snapshots is back. For tests and tools. */
  async settled(): Promise<void> {
    await Promise.all(this.#deleting.values());
    await this.#snapshots.settled();
  }

  #startDeleting(volume: Volume): void {
    const work = this.#delete(volume)
      .catch(() => undefined)
      .finally(() => this.#deleting.delete(volume.uuid));
    this.#deleting.set(volume.uuid, work);
  }

  async #delete(volume: Volume): Promise<void> {
    const { table, drive } = this.#parts;
    await this.#snapshots.dropAll(volume);
    await freeRange(this.#parts, volume, {
      kind: 'trim',
      offset: 0,
      end: volume.leaves.length * 512 * EXTENT_BYTES,
    });
    await this.#snapshots.freeAll(volume);
    if (this.#closing) return;
    await this.#changes.alone(async ({ record }) => {
      await record([{ slot: volume.slot, record: table.record(volume, { kind: 'tombstone' }) }]);
      drive.map.drop(volume);
      table.forget(volume);
    });
  }

  /**
   * Changes a volume's size, durably. A smaller one cuts off what lies beyond it, which reads as zeros when the volume grows again.
   */
  async resizeVolume(uuid: string, sizeBytes: number): Promise<VolumeStatus> {
    checkVolumeSize(sizeBytes);
    return await this.#changes.alone(async ({ record }) => {
      const volume = this.#volume(uuid);
      if (sizeBytes < volume.sizeBytes) {
        const end = volume.sizeBytes;
        await freeRange(this.#parts, volume, { kind: 'zero', offset: sizeBytes, end });
      }
      await record([
        { slot: volume.slot, record: this.#parts.table.record(volume, { sizeBytes }) },
      ]);
      return this.#statusOf(volume);
    });
  }

  /** Records, durably, under which attach id the volume is served. The epoch never falls. */
  setAttachment(
    uuid: string,
    attachment: { readonly attachId: string | undefined; readonly epoch: number },
  ): Promise<VolumeStatus> {
    const { table } = this.#parts;
    const { attachId, epoch } = attachment;
    return this.#changes.alone(async ({ record }) => {
      const volume = this.#volume(uuid);
      if (epoch < volume.epoch) {
        throw new Refusal('EPOCH_STALE', { volume: uuid, epoch, current: volume.epoch });
      }
      if (volume.attachId === attachId && volume.epoch === epoch) return this.#statusOf(volume);
      await record([{ slot: volume.slot, record: table.record(volume, { attachId, epoch }) }]);
      return this.#statusOf(volume);
    });
  }

  /** Freezes what the volume holds now; resolves with the snapshot's number once that is durable. */
  snapshot(uuid: string): Promise<number> {
    return this.#changes.alone((turn) => this.#snapshots.create(this.#volume(uuid), turn));
  }

  /** Deletes a snapshot: durable when it resolves, its space comes back in the background. */
  async deleteSnapshot(uuid: string, birth: number): Promise<void> {
    const volume = await this.#changes.alone(async (turn) => {
      const found = this.#volume(uuid);
      await this.#snapshots.delete(found, { birth, turn });
      return found;
    });
    this.#snapshots.resume(volume);
  }

  /** A way to do I/O on a volume. Any number may be open; `onDone` is this one's. */
  openTarget(uuid: string, onDone: OnDone): BlockTarget {
    const volume = this.#volume(uuid);
    assert(volume.marks === undefined, 'a volume with several replicas is changed by its head');
    return this.#target(volume, Infinity, onDone);
  }

  /** What a replica needs of the drive that holds it: of a volume made as one. */
  openReplica(uuid: string, onDone: OnDone): ReplicaVolume {
    const volume = this.#volume(uuid);
    assert(volume.marks !== undefined, 'the volume was made as a replica');
    return new ReplicaVolume(this.#parts, this.#changes, { volume, onDone });
  }

  /** A way to read a snapshot. Changes through it end in EROFS. */
  openSnapshot(uuid: string, birth: number, onDone: OnDone): BlockTarget {
    const volume = this.#volume(uuid);
    assert(
      volume.snapshots.some((snapshot) => snapshot.birth === birth),
      'an open snapshot exists',
    );
    return this.#target(volume, birth, onDone);
  }

  #target(volume: Volume, birthMax: number, onDone: OnDone): BlockTarget {
    const client: Client = { volume, birthMax, onDone };
    return new Target(this.#parts.core, client);
  }

  #volume(uuid: string): Volume {
    const volume = this.#parts.table.byUuid(uuid);
    if (volume === undefined || volume.state === 'deleting') {
      throw new Refusal('VOLUME_NOT_FOUND', { volume: uuid, hint: '' });
    }
    return volume;
  }

  volumes(): VolumeStatus[] {
    return [...this.#parts.table.all()]
      .filter((volume) => volume.slot >= 0)
      .map((volume) => this.#statusOf(volume));
  }

  /** The volume of this uuid; undefined if there is none. */
  volume(uuid: string): VolumeStatus | undefined {
    const volume = this.#parts.table.byUuid(uuid);
    return volume === undefined ? undefined : this.#statusOf(volume);
  }

  /** How many more volumes and snapshots the drive has room for in its table. */
  get freeVolumes(): number {
    return this.#parts.table.freeCount;
  }

  #statusOf(volume: Volume): VolumeStatus {
    return {
      uuid: volume.uuid,
      number: volume.number,
      sizeBytes: volume.sizeBytes,
      allocatedBytes: volume.cellCount * EXTENT_BYTES,
      epoch: volume.epoch,
      attachId: volume.attachId,
      state: volume.state,
      isReplica: volume.marks !== undefined,
      snapshots: volume.snapshots
        .filter((snapshot) => snapshot.state === 'live')
        .map((snapshot) => snapshot.birth),
    };
  }

  status(): DriveStatus {
    const { drive, path, recovery, checkpointer } = this.#parts;
    const { allocator, media } = drive;
    const free = allocator.freeCount + allocator.limboCount;
    return {
      path,
      state: media.fault !== undefined ? 'faulted' : drive.ownersLost ? 'read-only' : 'open',
      reason:
        media.fault ??
        (drive.ownersLost
          ? 'owner pages are rotten in both copies: some extents are unknown'
          : undefined),
      uuid: this.uuid,
      incarnation: checkpointer.superblock.incarnation,
      formatVersion: 1,
      sizeBytes: checkpointer.superblock.layout.sizeBytes,
      usedBytes: (allocator.cellCount - free) * EXTENT_BYTES,
      // The reserve is for trims over snapshots alone.
      freeBytes: Math.max(0, free - drive.holeReserve) * EXTENT_BYTES,
      reserveBytes: Math.min(free, drive.holeReserve) * EXTENT_BYTES,
      recovery,
      counters: { ...media.counters },
    };
  }

  /** Uses more of the file or device, after it has grown; new space is written before it counts. */
  grow(options: GrowOptions): Promise<void> {
    return this.#growths.enter('growth', () => growDrive(this.#parts, options));
  }

  /** Ends the work under way, checkpoints, marks the drive clean and closes it. */
  async close(): Promise<void> {
    this.#closing = true;
    const { core, turns, checkpointer, drive, env, life } = this.#parts;
    while (core.inFlight > 0 && drive.media.fault === undefined) await turns.nextTurn();
    await Promise.all(this.#deleting.values());
    await this.#snapshots.settled();
    // Whatever change of the table is under way.
    await this.#changes.alone(() => Promise.resolve());
    if (drive.media.fault === undefined && !drive.ownersLost) {
      await checkpointer.run({ clean: true });
      life.forgetNote();
    }
    turns.stop();
    // On a drive that has stopped, a checkpoint or mirroring may be about to notice.
    await checkpointer.settled();
    // A mark may still be on its way to the log: this close waits for it.
    await ioAsyncOf(env.io).close(drive.media.fd);
  }
}
