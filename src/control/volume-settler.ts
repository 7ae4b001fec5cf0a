/**
 * Drives one volume's record to what it says is wanted. Each round does one step, which may be repeated safely, and records it; so
 * it can be called again after a crash at any point. A step that is refused is undone as far as it went, and its error thrown. Where the record
 * has changed meanwhile, the step is decided anew.
 */

import path from 'node:path';

import { mountAt } from '../attacher/mount-table.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  type AttachmentRecord,
  type MountRecord,
  type VolumeRecord,
  settlerOf,
} from '../model/records.ts';
import { formatSize } from '../model/sizes.ts';
import { FULL_BYTES } from './conditions.ts';
import { decideAgain, isConflict, isOfStore } from './conflicts.ts';
import { waitForLeftPrograms } from './left-programs.ts';
import {
  checkFileSystem,
  clearLostAndFound,
  ensureFileSystem,
  growFileSystem,
  growUnmounted,
  mountFileSystem,
  refuseMountPoint,
  unmountFileSystem,
} from './mounts.ts';
import { isPassing } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import type { Amount } from './progress.ts';
import type { Kept } from './records-store.ts';
import { described } from './volume-change.ts';
import { type VolumeData, driveStatus, textOf } from './volume-data.ts';

const RESIZE_ENDED = { resizeToBytes: undefined, describeAs: undefined };

/** What of a volume that was there before, and is gone, is to be put back: that is tried only when somebody wants it tried. */
export type Restore = 'nothing' | 'attachment' | 'all';

export class VolumeSettler {
  readonly #parts: ControlParts;
  readonly #dataOf: (volume: VolumeRecord) => VolumeData;
  /** What fsck said of volumes that were mounted again by themselves. */
  readonly checks: Map<string, string> = new Map();

  constructor(parts: ControlParts, dataOf: (volume: VolumeRecord) => VolumeData) {
    this.#parts = parts;
    this.#dataOf = dataOf;
  }

  /**
   * Returns when nothing is wanted any more, or when that is another node's to do: one that has taken the volume over does so while this one is
   * at it. The caller holds the volume's turn.
   */
  async settle(name: string, restore: Restore = 'nothing'): Promise<void> {
    try {
      await decideAgain(async () => {
        while (await this.#step(name, restore)) this.#parts.onStep(`volume "${name}"`);
      });
    } finally {
      this.#parts.progress.clear(`volume/${name}`);
    }
  }

  /** False when nothing is wanted of the volume. */
  async #step(name: string, restore: Restore): Promise<boolean> {
    const kept = await this.#parts.records.volume(name);
    if (kept === undefined || settlerOf(kept.record) !== this.#parts.node) return false;
    const step = this.#next(kept, restore);
    await step?.();
    return step !== undefined;
  }

  /** Whether nothing is wanted of a volume but what a try of its own is for. */
  isAtRest(record: VolumeRecord): boolean {
    return this.#next({ record, version: 0 }, 'nothing') === undefined;
  }

  #show({ name }: VolumeRecord, phase: string, amount?: Amount): void {
    this.#parts.progress.show(`volume/${name}`, phase, amount);
  }

  /** The step that the record asks for, or undefined when it is at rest. */
  #next(kept: Kept<VolumeRecord>, restore: Restore): (() => Promise<void>) | undefined {
    const { record: volume } = kept;
    const { attachment, mount } = volume;
    if (volume.state === 'creating') return () => this.#create(kept);
    if (volume.state === 'removing') return () => this.#remove(kept);
    if (mount?.state === 'unmounting') return () => this.#unmount(kept, mount);
    if (attachment?.state === 'detaching') return () => this.#detach(kept, attachment);
    const isLost = attachment?.state === 'reattaching';
    const isWantedBack = isLost && (restore !== 'nothing' || mount?.state === 'mounting');
    if (attachment?.state === 'attaching' || (attachment !== undefined && isWantedBack)) {
      return () => this.#attach(kept, attachment);
    }
    if (mount?.state === 'mounting' || (mount?.state === 'remounting' && restore === 'all')) {
      return () => this.#mount(kept, mount);
    }
    const { resizeToBytes } = volume;
    if (resizeToBytes !== undefined) return () => this.#resize(kept, resizeToBytes);
    return undefined;
  }

  /** Changes what was read, or put last. Resolves with what is kept then. */
  #put(
    { record, version }: Kept<VolumeRecord>,
    change: Partial<VolumeRecord>,
  ): Promise<Kept<VolumeRecord>> {
    return this.#parts.records.putVolume({ ...record, ...change }, version);
  }

  #forget(
    { record, version }: Kept<VolumeRecord>,
    deletes: readonly string[] = [],
  ): Promise<number> {
    const key = `volume/${record.name}`;
    return this.#parts.records.change({
      conditions: [{ key, version }],
      deletes: [key, ...deletes],
    });
  }

  async #create(kept: Kept<VolumeRecord>): Promise<void> {
    const { record: volume } = kept;
    this.#show(volume, 'creating it');
    try {
      await this.#dataOf(volume).create(volume);
    } catch (error) {
      // Not of a store that failed, or where somebody else settled it meanwhile: it is looked at anew.
      if (!isPassing(error) && !isConflict(error) && !isOfStore(error)) await this.#forget(kept);
      throw error;
    }
    this.#parts.onStep('volume.create: made');
    await this.#put(kept, { state: 'ready' });
  }

  async #remove(kept: Kept<VolumeRecord>): Promise<void> {
    const { record: volume } = kept;
    this.#show(volume, 'removing it');
    await this.#dataOf(volume).remove(volume);
    this.#parts.onStep('volume.delete: gone');
    await this.#forget(kept, [`usage/${volume.id}`]);
  }

  async #attach(kept: Kept<VolumeRecord>, attachment: AttachmentRecord): Promise<void> {
    const { attacher, onStep } = this.#parts;
    const { record: volume } = kept;
    const { attachId } = attachment;
    this.#show(volume, 'attaching it');
    try {
      const socketPath = await this.#dataOf(volume).attach(volume, attachment);
      onStep('volume.attach: served');
      let device: string | undefined;
      if (attachment.wanted === 'device') {
        const { sizeBytes, id: uuid } = volume;
        device = textOf(
          await attacher.call('attach', { attachId, uuid, socketPath, sizeBytes }),
          'device',
        );
        onStep('volume.attach: device');
      }
      await this.#put(kept, {
        attachment: { ...attachment, state: 'attached', socketPath, device },
        // An attachment of a mount counts once that is mounted.
        ...(volume.mount?.attached === true ? {} : { lastAttachedAtMs: this.#parts.wallMs() }),
      });
    } catch (error) {
      // What was there before stays wanted.
      if (!isPassing(error) && attachment.state !== 'reattaching') {
        await this.#put(kept, {
          attachment: { ...attachment, state: 'detaching' },
          mount: undefined,
        });
        await this.settle(volume.name);
      }
      throw error;
    }
  }

  async #detach(kept: Kept<VolumeRecord>, attachment: AttachmentRecord): Promise<void> {
    const { attacher, onStep } = this.#parts;
    const { record: volume } = kept;
    const { attachId } = attachment;
    // One that is undone never came so far.
    const wasAttached = attachment.socketPath !== undefined;
    this.#show(volume, 'detaching it');
    try {
      if (attachment.wanted === 'device') await attacher.call('detach', { attachId });
      onStep('volume.detach: device');
      await this.#dataOf(volume).detach(volume, attachment);
      onStep('volume.detach: gone');
      await this.#put(kept, {
        attachment: undefined,
        ...(wasAttached ? { lastAttachedAtMs: this.#parts.wallMs() } : {}),
      });
    } catch (error) {
      if (!isPassing(error) && wasAttached) {
        const isGone = attachment.wanted === 'device' && attachment.device === undefined;
        const state = isGone ? 'reattaching' : 'attached';
        await this.#put(kept, { attachment: { ...attachment, state } });
      }
      throw error;
    }
  }

  async #mount(read: Kept<VolumeRecord>, mount: MountRecord): Promise<void> {
    const { made, installation, onStep } = this.#parts;
    let kept = read;
    const { record: volume } = read;
    const device = volume.attachment?.device ?? '';
    const target = { volume: volume.name, device };
    const { fsType } = mount;
    try {
      if (mount.state === 'remounting') await this.#refuseBare(mount);
      // Mounted by a call that did not come to its end: neither made nor checked again.
      const isMounted = mountAt(mount.path)?.source === device;
      await waitForLeftPrograms(device, (program) =>
        this.#show(volume, `waiting for ${program}, which an earlier control started`),
      );
      this.#show(volume, `looking for its ${fsType}, or making it`);
      const onMake = async (): Promise<void> => {
        // What a crash leaves half made is no longer blank.
        kept = await this.#put(kept, { mount: { ...mount, force: true } });
        onStep('volume.mount: file system wanted');
      };
      const was = isMounted ? 'mounted' : await this.#ensureFileSystem(volume, mount, onMake);
      onStep(`volume.mount: file system ${was}`);
      // A retry must not make the file system once more over what was written since.
      if (was === 'made') kept = await this.#put(kept, { mount: { ...mount, force: false } });
      if (was === 'found') {
        const scratchDir = path.join(installation.runDirectory, 'scratch');
        this.#show(volume, `checking its ${fsType}`);
        const roomBytes = await this.#roomBytes(volume);
        const checked = await checkFileSystem(target, {
          fsType,
          scratchDir,
          made,
          drive: volume.drive,
          roomBytes,
          onPercent: (done) =>
            this.#show(volume, `checking its ${fsType}`, { done, total: 100, unit: 'percent' }),
        });
        this.checks.set(volume.name, checked);
        this.#show(volume, `growing its ${fsType}`);
        await growUnmounted(target, fsType);
      }
      this.#show(volume, 'mounting it');
      const at = await mountFileSystem(target, { fsType, path: mount.path, made });
      onStep('volume.mount: mounted');
      await clearLostAndFound(at);
      const growsAtNextMount = (await growFileSystem(target, { fsType, path: at })) === 'later';
      await this.#put(kept, {
        fsType,
        wasMounted: true,
        ...(mount.attached ? { lastAttachedAtMs: this.#parts.wallMs() } : {}),
        mount: { ...mount, force: false, path: at, state: 'mounted', growsAtNextMount },
      });
    } catch (error) {
      const told = await this.#withRoom(volume, error);
      // What was there before stays wanted.
      if (!isPassing(error) && mount.state !== 'remounting') await this.#undoMount(kept, mount);
      throw told;
    }
  }

  /** What lies in another volume's file system waits for that: it would be mounted on what is under it. */
  async #refuseBare({ path: at }: MountRecord): Promise<void> {
    const { records, node } = this.#parts;
    for (const { name, attachment, mount } of await records.volumes()) {
      if (mount?.state !== 'remounting' || attachment?.node !== node) continue;
      if (!at.startsWith(`${mount.path}/`)) continue;
      const problem = `volume "${name}" belongs at "${mount.path}" and is not mounted`;
      throw new Refusal('MOUNT_PATH_USED', { path: at, problem });
    }
  }

  async #ensureFileSystem(
    volume: VolumeRecord,
    mount: MountRecord,
    onMake: () => Promise<void>,
  ): Promise<'made' | 'found'> {
    const { name, attachment } = volume;
    const { path: at, fsType, force } = mount;
    const target = { volume: name, device: attachment?.device ?? '' };
    await refuseMountPoint(at, target);
    const isBlank = await this.#dataOf(volume).isBlank(volume);
    return ensureFileSystem(target, { fsType, force, isBlank, onMake });
  }

  /** A program's "Input/output error" on a full drive means that. */
  async #withRoom(volume: VolumeRecord, error: unknown): Promise<unknown> {
    if (!(error instanceof Fault) || error.code !== 'MOUNT_FAILED') return error;
    const roomBytes = await this.#roomBytes(volume).catch(() => Number.POSITIVE_INFINITY);
    if (roomBytes >= FULL_BYTES) return error;
    const { drive } = volume;
    const problem = `its drive "${drive}" is full (${formatSize(roomBytes)} free; holdfast drive grow ${drive} --size SIZE): ${error.message}`;
    return new Fault('MOUNT_FAILED', { volume: volume.name, problem });
  }

  /** Free on the volume's drive. */
  async #roomBytes(volume: VolumeRecord): Promise<number> {
    // Where replicas lie, the nodes look after it.
    if (volume.replication !== undefined) return Number.POSITIVE_INFINITY;
    return Number((await driveStatus(this.#parts, volume.drive))?.['freeBytes'] ?? 0);
  }

  async #undoMount(kept: Kept<VolumeRecord>, mount: MountRecord): Promise<void> {
    const { name, attachment } = kept.record;
    const there = mountAt(mount.path);
    const isMounted = there !== undefined && there.source === attachment?.device;
    await this.#put(kept, {
      // What was attached for it alone was used by nobody.
      attachment:
        attachment === undefined || isMounted || !mount.attached
          ? attachment
          : { ...attachment, socketPath: undefined },
      mount: { ...mount, state: 'unmounting' },
    });
    await this.settle(name);
  }

  async #unmount(kept: Kept<VolumeRecord>, mount: MountRecord): Promise<void> {
    const { made, onStep } = this.#parts;
    const { record: volume } = kept;
    const { attachment } = volume;
    this.#show(volume, 'unmounting it');
    let end: 'clean' | 'unclean' = 'clean';
    try {
      if (attachment?.device !== undefined) {
        const target = { volume: volume.name, device: attachment.device };
        end = await unmountFileSystem(target, { path: mount.path, made });
      }
      onStep('volume.unmount: unmounted');
      const detaching =
        mount.attached && attachment !== undefined
          ? { ...attachment, state: 'detaching' as const }
          : attachment;
      await this.#put(kept, { mount: undefined, attachment: detaching });
    } catch (error) {
      await this.#put(kept, { mount: { ...mount, state: 'mounted' } });
      throw error;
    }
    if (end === 'clean') return;
    // Unmounted it is; whoever asked for that must hear that something is amiss.
    await this.settle(volume.name);
    throw await tellUnclean(this.#parts, volume);
  }

  async #resize(kept: Kept<VolumeRecord>, sizeBytes: number): Promise<void> {
    const { attacher, onStep } = this.#parts;
    const { record: volume } = kept;
    const { attachment, mount } = volume;
    let resized = volume;
    this.#show(volume, 'growing it');
    try {
      await this.#dataOf(volume).resize(volume, sizeBytes);
      onStep('volume.resize: volume');
      // What comes after may be refused, and the volume has its new size nevertheless.
      resized = { ...described(volume, volume.describeAs), sizeBytes };
      if (attachment?.device !== undefined) {
        await attacher.call('resize', { attachId: attachment.attachId, sizeBytes });
        onStep('volume.resize: device');
        if (mount?.state === 'mounted') {
          const target = { volume: volume.name, device: attachment.device };
          const { fsType, path: at } = mount;
          this.#show(volume, `growing its ${fsType}`);
          const growsAtNextMount = (await growFileSystem(target, { fsType, path: at })) === 'later';
          resized = { ...resized, mount: { ...mount, growsAtNextMount } };
        }
      }
      await this.#put(kept, { ...resized, ...RESIZE_ENDED });
    } catch (error) {
      if (!isPassing(error)) await this.#put(kept, { ...resized, ...RESIZE_ENDED });
      throw error;
    }
  }
}

/** Tells of a file system that could not end as it should, and returns the fault for whoever asked for its end. */
export async function tellUnclean(parts: ControlParts, volume: VolumeRecord): Promise<Fault> {
  const { name, drive, mount } = volume;
  const fault = new Fault('FILE_SYSTEM_STOPPED', { volume: name, drive, fs: mount?.fsType ?? '' });
  await tell(parts, 'volume.unmounted_unclean', {
    subject: `volume/${name}`,
    what: fault.message,
    cause: 'writes failed while it was mounted: its drive is full, or gave errors',
  });
  return fault;
}
