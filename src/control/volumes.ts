/** Use cases on volumes. Each checks, records what is wanted with its operation, and settles the volume. */

import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { Refusal } from '../model/errors.ts';
import { checkName } from '../model/ids.ts';
import type { MountRecord, TrashRecord, VolumeRecord } from '../model/records.ts';
import { formatSizeExact } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { Cluster } from './cluster/cluster.ts';
import { refuseWithoutReplica } from './cluster/replica-changes.ts';
import { clearOvertaken } from './cluster/overtaken.ts';
import { ReplicatedData, replicatedStatuses } from './cluster/replicated-data.ts';
import { type Drives, placingOn } from './drives.ts';
import { trimMounted } from './file-systems.ts';
import {
  API_HOLDER,
  type MountWish,
  type UnmountWish,
  newMount,
  refuseHeld,
  withHolder,
  withoutHolder,
} from './mount-holders.ts';
import { kernelPath } from './mount-directory.ts';
import { refuseMountPoint } from './mounts.ts';
import { endedOperation, newOperation, runOperation } from './operations.ts';
import type { ControlParts } from './parts.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';
import { throwAway } from './trash.ts';
import { type VolumeChange, described, descriptionIn, labelsWith } from './volume-change.ts';
import { differenceOf } from './volume-difference.ts';
import { type VolumeWish, replicationOf } from './volume-wish.ts';
import { DriveVolumeData, type VolumeData, engineStatuses } from './volume-data.ts';
import { VolumeSettler } from './volume-settler.ts';
import { VolumeTurns } from './volume-turns.ts';

export type AttachWish = {
  readonly as: 'nbd' | 'device';
  readonly force?: boolean | undefined;
  readonly acceptLoss?: boolean | undefined;
};

export type DetachWish = { readonly force?: boolean | undefined };

export class Volumes {
  readonly #parts: ControlParts;
  readonly #drives: Drives;
  readonly #cluster: Cluster | undefined;
  readonly #turns: VolumeTurns;
  readonly settler: VolumeSettler;
  /** What carries out what is wanted of a volume. */
  readonly dataOf: (volume: VolumeRecord) => VolumeData;

  /** `cluster`: undefined on a single machine. */
  constructor(parts: ControlParts, drives: Drives, cluster?: Cluster) {
    this.#parts = parts;
    this.#drives = drives;
    this.#cluster = cluster;
    const onDrive = new DriveVolumeData(parts);
    const replicated = cluster === undefined ? onDrive : new ReplicatedData(parts, cluster);
    this.dataOf = ({ replication }) => (replication === undefined ? onDrive : replicated);
    this.settler = new VolumeSettler(parts, this.dataOf);
    this.#turns = new VolumeTurns(parts, { drives, settler: this.settler, cluster });
  }

  /** The volume of this name. Throws VOLUME_NOT_FOUND, with a name that is like it. */
  async get(name: string): Promise<VolumeRecord> {
    return (await this.#turns.kept(name)).record;
  }

  /** Creates a volume. The same again is the same volume: one with something other than the wish names is refused. */
  create(wish: VolumeWish): Promise<VolumeRecord> {
    const name = checkName(wish.name);
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const known = await this.#parts.records.volume(name);
      if (known !== undefined) return this.#same(known.record, wish);
      const replication = await replicationOf(this.#parts, wish);
      const drive = replication === undefined ? await this.#drives.choose(wish.drive, name) : '';
      const describeAs = descriptionIn(wish, wish.sizeBytes);
      const record: VolumeRecord = {
        name,
        id: this.#parts.newId(),
        drive,
        ...(replication === undefined ? {} : { replication }),
        sizeBytes: wish.sizeBytes,
        state: 'creating',
        createdAtMs: this.#parts.wallMs(),
        epoch: 0,
        attachment: undefined,
        mount: undefined,
        resizeToBytes: undefined,
        ...(wish.createdBy === undefined ? {} : { createdBy: wish.createdBy }),
        ...(wish.plugin === undefined ? {} : { plugin: wish.plugin }),
        ...(wish.fsType === undefined ? {} : { fsType: wish.fsType }),
      };
      await this.#turns.want('volume.create', {
        record: described(record, describeAs),
        version: 0,
      });
      return this.get(name);
    });
  }

  #same(record: VolumeRecord, wish: VolumeWish): VolumeRecord {
    const difference = differenceOf(record, wish);
    if (difference !== undefined)
      throw new Refusal('VOLUME_EXISTS', { volume: record.name, difference });
    return record;
  }

  /**
   * Removes a volume: into the trash, or with what it holds where that is wanted `now` or nothing is kept. One that is not there is
   * removed already.
   */
  remove(
    name: string,
    { now }: { readonly now: boolean },
  ): Promise<{ readonly removed: boolean; readonly trashed?: TrashRecord }> {
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const kept = await this.#parts.records.volume(name);
      if (kept === undefined) return { removed: false };
      const { record, version } = kept;
      this.#cluster?.refuseElsewhere(record, 'remove');
      refuseHeld(record, 'remove');
      if (record.mount !== undefined || record.attachment !== undefined) {
        throw new Refusal('VOLUME_ATTACHED', { volume: name });
      }
      const { trashRetentionMs } = await this.#parts.records.settings();
      if (!now && trashRetentionMs > 0) {
        return { removed: true, trashed: await throwAway(this.#parts, kept, trashRetentionMs) };
      }
      await this.#turns.want('volume.remove', {
        record: { ...record, state: 'removing' },
        version,
      });
      return { removed: true };
    });
  }

  /**
   * Makes a volume larger, with its file system where that is mounted; says whose it is; labels it anew; lets it grow by itself. It is one
   * change: where the size is refused, all of it stays as it is.
   */
  change(name: string, wish: VolumeChange): Promise<VolumeRecord> {
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const { record, version } = await this.#turns.mine(name, 'change');
      const sizeBytes = wish.sizeBytes ?? record.sizeBytes;
      const labels = labelsWith(record.labels, wish.labels);
      const describeAs = descriptionIn({ ...wish, labels }, sizeBytes);
      if (await this.#needsResize(record, wish.sizeBytes)) {
        const resized = { ...record, resizeToBytes: sizeBytes, describeAs };
        await this.#turns.want('volume.resize', { record: resized, version });
      } else if (
        describeAs !== undefined &&
        !isDeepStrictEqual(described(record, describeAs), record)
      ) {
        const ended = endedOperation(this.#parts, 'volume.describe', `volume/${name}`);
        await this.#turns.record({ record: described(record, describeAs), version }, ended);
        this.#parts.onStep('volume.describe: done');
      }
      return this.get(name);
    });
  }

  async #needsResize(record: VolumeRecord, sizeBytes: number | undefined): Promise<boolean> {
    if (sizeBytes === undefined) return false;
    if (sizeBytes < record.sizeBytes) {
      throw new Refusal('VOLUME_SHRINK', {
        volume: record.name,
        wanted: formatSizeExact(sizeBytes),
        actual: formatSizeExact(record.sizeBytes),
      });
    }
    // Of one that has its size already, the file system may still be smaller.
    if (sizeBytes === record.sizeBytes) return record.mount !== undefined;
    await this.#parts.turnstile.enter(placingOn(record.drive), () =>
      this.#drives.checkPromise(record, sizeBytes - record.sizeBytes),
    );
    return true;
  }

  /**
   * Attaches a volume: as an NBD socket, or as a block device too. Attached that way already, it stays as it is. `force` takes it from the
   * node that has it: whatever that still does with it has no effect from then on. `acceptLoss`: as it is in the replica here, from which all
   * others are made anew.
   */
  attach(name: string, wish: AttachWish): Promise<VolumeRecord> {
    const { as: wanted, force = false, acceptLoss = false } = wish;
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const { record: present, version } = await this.#turns.kept(name);
      if (acceptLoss) await refuseWithoutReplica(this.#parts, present);
      const isHere = present.attachment?.node === this.#parts.node;
      const isAccepted = isHere && present.attachment?.acceptLoss === true;
      const isTaken = (acceptLoss && !isAccepted) || (force && !isHere);
      if (!isTaken) this.#cluster?.refuseElsewhere(present, 'attach');
      const record = isTaken ? { ...present, attachment: undefined, mount: undefined } : present;
      if (record.attachment !== undefined) {
        if (record.attachment.wanted !== wanted) throw attachedOtherwise(record, wanted);
        if (record.attachment.state !== 'reattaching') return record;
        await this.#turns.want('volume.attach', { record, version }, 'attachment');
        return this.get(name);
      }
      const attaching = await this.#attaching(record, wanted, acceptLoss);
      await this.#turns.want('volume.attach', { record: attaching, version });
      return this.get(name);
    });
  }

  async #attaching(
    record: VolumeRecord,
    wanted: 'nbd' | 'device',
    acceptLoss = false,
  ): Promise<VolumeRecord> {
    // A record from a backup may be older than the drive's, and an epoch only rises.
    const onDrive = Number((await this.engineStatusOf(record))?.['epoch'] ?? 0);
    return {
      ...record,
      epoch: Math.max(record.epoch, onDrive) + 1,
      attachment: {
        attachId: this.#parts.newAttachId(),
        ...(this.#parts.node === undefined ? {} : { node: this.#parts.node }),
        wanted,
        ...(acceptLoss ? { acceptLoss } : {}),
        state: 'attaching',
        socketPath: undefined,
        device: undefined,
      },
    };
  }

  /**
   * Detaches a volume, after a drain and a flush. `force`: at once, whoever uses or holds it. What is unanswered fails, and what was not
   * flushed may be lost.
   */
  async detach(name: string, { force = false }: DetachWish = {}): Promise<VolumeRecord> {
    const ended = force ? await this.#endAtOnce(name) : undefined;
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const { record, version } = await this.#turns.mine(name, 'detach');
      if (force) {
        // Who attached it since is not meant.
        if (ended === undefined || record.attachment?.attachId !== ended) return record;
        const attachment = { ...record.attachment, state: 'detaching' as const };
        const detaching = { ...record, attachment, mount: undefined };
        await this.#turns.want('volume.detach', { record: detaching, version });
        return this.get(name);
      }
      refuseHeld(record, 'detach');
      if (record.mount !== undefined) {
        throw new Refusal('VOLUME_MOUNTED', { volume: name, path: record.mount.path });
      }
      if (record.attachment === undefined) return record;
      const attachment = { ...record.attachment, state: 'detaching' as const };
      await this.#turns.want('volume.detach', { record: { ...record, attachment }, version });
      return this.get(name);
    });
  }

  /**
   * Ends the service of a volume, with its device and what is mounted of it, and returns its attach id; undefined: it has none. Not in turn:
   * where I/O stands still, whoever has the turn may wait for that.
   */
  async #endAtOnce(name: string): Promise<string | undefined> {
    const { record } = await this.#turns.mine(name, 'detach');
    const { attachment } = record;
    if (attachment === undefined) return undefined;
    await this.dataOf(record).end(record, attachment);
    if (attachment.wanted === 'device') await clearOvertaken(this.#parts, attachment.attachId);
    return attachment.attachId;
  }

  /**
   * Mounts a volume for a holder, attaching it and making a file system where there is none. Mounted that way already, it stays, and the
   * holder is one more.
   */
  mount(name: string, wish: MountWish): Promise<VolumeRecord> {
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const kept = await this.#turns.mine(name, 'mount');
      const { record, version } = kept;
      const wanted = wish.path ?? path.join(this.#parts.installation.directory, 'mnt', name);
      if (!path.isAbsolute(wanted)) {
        throw new Refusal('PATH_INVALID', { path: wanted, problem: 'it must begin with "/"' });
      }
      const at = await kernelPath(wanted);
      const hold = { ...wish, path: wish.path && at, bootId: this.#parts.bootId };
      const { attachment, mount: known } = record;
      if (known !== undefined) {
        const held = withHolder(record, known, hold);
        if (known.state !== 'remounting') return this.#putMount(kept, held);
        await this.#turns.want('volume.mount', kept, 'all');
        const again = await this.#turns.kept(name);
        const there = again.record.mount ?? held;
        return this.#putMount(again, withHolder(again.record, there, hold));
      }
      if (attachment !== undefined && attachment.wanted !== 'device')
        throw attachedOtherwise(record, 'device');
      await refuseMountPoint(at, { volume: name, device: attachment?.device ?? '' });
      const attaching = attachment === undefined ? await this.#attaching(record, 'device') : record;
      const mount = newMount(record, { ...hold, path: at });
      await this.#turns.want('volume.mount', { record: { ...attaching, mount }, version });
      return this.get(name);
    });
  }

  /**
   * Ends a hold. The last to go unmounts the volume, and detaches it if the mount attached it. Throws VOLUME_HELD to the API while containers
   * use it. Where I/O stands still, an unmount that people force is a {@link detach} by force.
   */
  async unmount(name: string, wish: UnmountWish): Promise<VolumeRecord> {
    if (wish.force && wish.holder === API_HOLDER) {
      const { record } = await this.#turns.mine(name, 'unmount');
      if ((await this.stallOf(record)) !== undefined) return this.detach(name, { force: true });
    }
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const kept = await this.#turns.mine(name, 'unmount');
      const { record, version } = kept;
      const { mount: known } = record;
      if (known === undefined) return record;
      const mount = withoutHolder(record, known, wish);
      if (mount.state !== 'unmounting') return this.#putMount(kept, mount);
      await this.#turns.want('volume.unmount', { record: { ...record, mount }, version });
      return this.get(name);
    });
  }

  /** Why I/O on a volume stands still; undefined: it does not. */
  async stallOf(record: VolumeRecord): Promise<string | undefined> {
    if (record.replication === undefined) return undefined;
    const reason = (await this.engineStatusOf(record))?.['reason'];
    return typeof reason === 'string' ? reason : undefined;
  }

  /** Gives back to the drive what the mounted file system no longer uses. Throws VOLUME_NOT_MOUNTED. */
  trim(name: string): Promise<void> {
    return this.#turns.enter(name, async () => {
      await this.#turns.atRest(name);
      const { mount } = (await this.#turns.mine(name, 'trim')).record;
      if (mount === undefined) throw new Refusal('VOLUME_NOT_MOUNTED', { volume: name });
      const operation = newOperation(this.#parts, 'volume.trim', `volume/${name}`);
      await this.#parts.records.change({ puts: operationPuts(operation) });
      this.#parts.progress.show(operation.target, `trimming its ${mount.fsType}`);
      await runOperation(this.#parts, operation, () => trimMounted(name, mount.path));
    });
  }

  /** Records who holds a mount, where that has changed. */
  async #putMount(
    { record, version }: Kept<VolumeRecord>,
    mount: MountRecord,
  ): Promise<VolumeRecord> {
    if (record.mount?.holders?.join() === mount.holders?.join()) return record;
    const put = await this.#parts.records.putVolume({ ...record, mount }, version);
    this.#parts.onStep('volume.mount: held');
    return put.record;
  }

  /** What the engine says of one volume; undefined while it is away. */
  engineStatusOf(record: VolumeRecord): Promise<JsonObject | undefined> {
    return this.dataOf(record).status(record);
  }

  /** What the engine says of these volumes, by volume id. What it does not answer in time is left out. */
  async engineStatus(ids: readonly string[]): Promise<ReadonlyMap<string, JsonObject>> {
    const statuses = await engineStatuses(this.#parts.engine, ids);
    if (this.#cluster === undefined) return statuses;
    const known = await replicatedStatuses(this.#parts, ids);
    // Its head counts, where that is here.
    for (const [id, of] of known) statuses.set(id, { ...statuses.get(id), ...of });
    return statuses;
  }
}

function attachedOtherwise(record: VolumeRecord, wanted: 'nbd' | 'device'): Refusal {
  const words = { nbd: 'as an NBD socket', device: 'as a block device' };
  return new Refusal('VOLUME_ATTACHED_OTHERWISE', {
    volume: record.name,
    wanted: words[wanted],
    actual: words[record.attachment?.wanted ?? 'nbd'],
  });
}
