/**
 * Brings every half-done change to its end when control starts, and puts back what a dead attacher or a reboot took: devices and
 * mounts of volumes that were attached.
 */

import { mountAt } from '../attacher/mount-table.ts';
import { sweepLeftovers } from '../attacher/sweep.ts';
import { Fault, Refusal } from '../model/errors.ts';
import {
  type MountRecord,
  type Subject,
  type VolumeRecord,
  isLost,
  settlerOf,
} from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { decideAgain, isOfStore } from './conflicts.ts';
import { isDraining } from './drive-replacement.ts';
import type { Drives } from './drives.ts';
import { unmountFileSystem } from './mounts.ts';
import { endInterrupted, isPassing } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import type { Kept } from './records-store.ts';
import { asNobody } from './request-context.ts';
import type { ReleasedView } from './schemas.ts';
import { type StallWatch, findStalled, unlessStalled } from './stalled-volumes.ts';
import { syncFileSystem } from './sync-mounts.ts';
import type { Trash } from './trash.ts';
import { tellUnclean } from './volume-settler.ts';
import { deleteGone } from './volume-data.ts';
import type { Volumes } from './volumes.ts';

/** While an engine or attacher is away, what is wanted of it is tried again this often. */
const RETRY_MS = 1000;
/** Replicas leave a drive in minutes or hours. */
const DRAIN_MS = 3000;
/** What was mounted or attached and cannot be again waits for somebody who clears its way; a try checks a file system. */
const RESTORE_MS = 30_000;
const FAILED = 'reconcile.failed';

export class Reconciler {
  readonly #parts: ControlParts;
  readonly #drives: Drives;
  readonly #volumes: Volumes;
  readonly #trash: Trash;
  readonly #stallWatch: StallWatch;
  #running: Promise<void> | undefined;
  #again = false;
  /** Once: later the engine has a list that is whole. */
  #opened: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(
    parts: ControlParts,
    uses: {
      readonly drives: Drives;
      readonly volumes: Volumes;
      readonly trash: Trash;
      readonly sleep: StallWatch['sleep'];
    },
  ) {
    this.#parts = parts;
    this.#drives = uses.drives;
    this.#volumes = uses.volumes;
    this.#trash = uses.trash;
    const { volumes, sleep } = uses;
    this.#stallWatch = { reasonOf: (volume) => volumes.stallOf(volume), sleep };
  }

  /** Reconciles everything, once at a time; a call while it runs makes it run once more. */
  run(): Promise<void> {
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#running = asNobody(() => this.#run())
      .catch((error: unknown) => this.#retryRefused(error))
      .finally(() => {
        this.#running = undefined;
        if (this.#again) {
          this.#again = false;
          void this.run();
        }
      });
    return this.#running;
  }

  /** What a full or failing disk refuses is tried again: control answers meanwhile. A bug ends the process. */
  #retryRefused(error: unknown): void {
    if (!(error instanceof Fault) && !(error instanceof Error && 'errno' in error)) throw error;
    this.#parts.log(FAILED, { error: error.message });
    this.soon();
  }

  /** Reconciles after a pause, unless that is coming anyway. */
  soon(): void {
    this.#after(RETRY_MS);
  }

  #after(pauseMs: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.run();
    }, pauseMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    if (this.#stopped) return;
    const { records, turnstile } = this.#parts;
    const failures = new Map<string, unknown>();
    const attempt = async (key: Subject, task: () => Promise<void>): Promise<void> => {
      await turnstile.enter(key, task).catch((error: unknown) => {
        failures.set(key, error);
        return isPassing(error) ? undefined : this.#tellFailed(key, error);
      });
    };
    await this.#drives.writeList();
    await (this.#opened ??= this.#drives.openMissing());
    for (const { name } of await records.drives()) {
      await attempt(`drive/${name}`, () => this.#drives.settle(name));
    }
    const lost = await this.#lostDevices();
    for (const { name } of await this.#ownVolumes()) {
      await attempt(`volume/${name}`, () => decideAgain(() => this.#settleVolume(name, lost)));
    }
    await this.#trash.resumeEmptying();
    for (const { volume } of await records.trash()) {
      await attempt(`trash/${volume.id}`, () => this.#trash.settle(volume.id));
    }
    await deleteGone(this.#parts).catch((error: unknown) => failures.set('gone', error));
    await endInterrupted(this.#parts, failures);
    await records.trim(this.#parts.wallMs());
    const waits = [...failures.values()].filter((error) => isPassing(error));
    if (waits.some((error) => !isDraining(error))) this.soon();
    else if (waits.length > 0) this.#after(DRAIN_MS);
    else if (this.#timer === undefined && (await this.#ownVolumes()).some(isLost)) {
      this.#after(RESTORE_MS);
    }
  }

  /** In order of their mount points: one comes before those that lie in it. */
  async #ownVolumes(): Promise<readonly VolumeRecord[]> {
    const { records, node } = this.#parts;
    const own = (await records.volumes()).filter((volume) => settlerOf(volume) === node);
    const at = ({ mount }: VolumeRecord): string => mount?.path ?? '';
    return own.toSorted((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
  }

  /** One that fails for the same reason each time is told once. */
  async #tellFailed(key: Subject, error: unknown): Promise<void> {
    const cause = inWords(error);
    const events = await this.#parts.records.events();
    const last = events.find(({ kind, subject }) => kind === FAILED && subject === key);
    if (last?.cause === cause) return;
    const what = `What is wanted of ${key.replace('/', ' "')}" could not be done`;
    await tell(this.#parts, FAILED, { subject: key, what, cause });
  }

  /** Attach ids of volumes whose block devices are gone; undefined while the attacher is away. */
  async #lostDevices(): Promise<ReadonlySet<string> | undefined> {
    const wanted = (await this.#ownVolumes()).flatMap(({ attachment }) =>
      attachment?.wanted === 'device' && attachment.state === 'attached'
        ? [attachment.attachId]
        : [],
    );
    if (wanted.length === 0) return new Set();
    const answer = await this.#parts.attacher.call('list', {}).catch(() => undefined);
    if (answer === undefined) return undefined;
    const there = new Set(
      (answer['devices'] as readonly JsonObject[]).map((device) => device['attachId']),
    );
    const lost = new Set(wanted.filter((attachId) => !there.has(attachId)));
    if (lost.size > 0) {
      const report = await sweepLeftovers(this.#parts.installation.runDirectory, {
        scope: 'attacher',
      });
      for (const { made, reason } of report.left) {
        const what = `Left of a dead attacher: ${JSON.stringify(made)}`;
        const subject = 'process/attacher';
        await tell(this.#parts, 'attacher.left_over', { subject, what, cause: reason });
      }
    }
    return lost;
  }

  async #settleVolume(name: string, lost: ReadonlySet<string> | undefined): Promise<void> {
    const kept = await this.#parts.records.volume(name);
    if (kept === undefined || settlerOf(kept.record) !== this.#parts.node) return;
    const { attachment } = kept.record;
    if (attachment !== undefined && lost?.has(attachment.attachId) === true) {
      await this.#attachAgain(kept);
    } else if (isMountLost(kept.record)) {
      const { mount } = kept.record;
      const remounting = { ...kept.record, mount: { ...mount, state: 'remounting' as const } };
      await this.#parts.records.putVolume(remounting, kept.version);
    }
    const isBack = isLost(kept.record);
    await this.#volumes.settler.settle(name, 'all');
    if (isBack) await this.#tellRestored(name);
  }

  /** Only where somebody was told that it could not be. */
  async #tellRestored(name: string): Promise<void> {
    const subject: Subject = `volume/${name}`;
    const events = await this.#parts.records.events();
    const last = events.find(
      (event) =>
        event.subject === subject && (event.kind === FAILED || event.kind === 'volume.restored'),
    );
    if (last?.kind !== FAILED) return;
    const what = `Volume "${name}" is attached and mounted again as it was`;
    await tell(this.#parts, 'volume.restored', { subject, what });
  }

  /** The device is gone with its attacher: attach again, check the file system, mount it where it was, and tell. */
  async #attachAgain({ record: volume, version }: Kept<VolumeRecord>): Promise<void> {
    const { mount } = volume;
    await this.#parts.records.putVolume(toReattach(volume), version);
    await this.#volumes.settler.settle(volume.name, 'all');
    const check = this.#volumes.settler.checks.get(volume.name);
    const mounted =
      mount === undefined ? '' : ` and mounted again at "${mount.path}" (${check ?? 'new'})`;
    await tell(this.#parts, 'volume.reattached', {
      subject: `volume/${volume.name}`,
      what: `Volume "${volume.name}" had lost its block device: attached${mounted}`,
      cause: 'the attacher ended or the machine restarted',
    });
  }

  /**
   * For an orderly end: unmounts and takes the devices away. The records keep what is wanted, for the next start. Where
   * something stands in the way Holdfast goes on, and what was released is put back. Where I/O stands still nothing is touched.
   */
  async release(): Promise<ReleasedView> {
    const withDevice = (await this.#ownVolumes()).filter(({ attachment }) => attachment?.device);
    const stalled = await findStalled(withDevice, this.#stallWatch);
    const released: ReleasedView = { problems: [], stopped: [], stalled: [] };
    for (const each of stalled) tellStalled(released, each);
    // An earlier change of one of them may wait for its I/O too: nor is that waited for.
    if (stalled.length > 0) return released;
    this.stop();
    await this.#running;
    await this.#releaseAll(released);
    if (released.problems.length > 0) {
      this.#stopped = false;
      this.soon();
    }
    return released;
  }

  async #releaseAll(released: ReleasedView): Promise<void> {
    const { turnstile } = this.#parts;
    for (const { name } of (await this.#ownVolumes()).toReversed()) {
      try {
        const stopped = await turnstile.enter(`volume/${name}`, () =>
          decideAgain(() => this.#releaseVolume(name)),
        );
        if (stopped !== undefined) released.stopped.push(inWords(stopped));
      } catch (error) {
        if (error instanceof Refusal && error.code === 'VOLUME_STALLED') {
          tellStalled(released, error);
          continue;
        }
        const problem = error instanceof Error ? error.message : String(error);
        released.problems.push(`volume "${name}": ${problem}`);
      }
    }
  }

  /** Resolves with what is to be told of its file system, if that had stopped writing. */
  async #releaseVolume(name: string): Promise<Fault | undefined> {
    const kept = await this.#parts.records.volume(name);
    if (kept?.record.attachment?.device === undefined) return undefined;
    if (settlerOf(kept.record) !== this.#parts.node) return undefined;
    const { record: volume, version } = kept;
    const { attachId, device } = kept.record.attachment;
    const { mount } = volume;
    let stopped: Fault | undefined;
    if (mount?.state === 'mounted') {
      const { made } = this.#parts;
      const target = { volume: name, device };
      // An unmount that waits for I/O has taken the mount away already, and cannot be left.
      await unlessStalled(volume, syncFileSystem(mount.path), this.#stallWatch);
      const end = await unmountFileSystem(target, { path: mount.path, made });
      if (end === 'unclean') stopped = await tellUnclean(this.#parts, volume);
      this.#parts.onStep('release: unmounted');
    }
    await this.#parts.attacher.call('detach', { attachId }, { waitMs: 2000 });
    this.#parts.onStep('release: detached');
    // Wanted still, and no longer there: the next start attaches and mounts it without a word. Where the store cannot be written, as on a
    // full disk, it finds the device gone, and does so with an event.
    await this.#parts.records.putVolume(toReattach(volume), version).catch((error: unknown) => {
      if (!isOfStore(error)) throw error;
      this.#parts.log(FAILED, { error: String(error) });
    });
    return stopped;
  }
}

/** The volume without its device, which is wanted still, and so is the mount on it. */
function toReattach(volume: VolumeRecord): VolumeRecord {
  const { attachment, mount } = volume;
  return {
    ...volume,
    attachment: attachment && { ...attachment, state: 'reattaching', device: undefined },
    mount: mount?.state === 'mounted' ? { ...mount, state: 'remounting' } : mount,
  };
}

function tellStalled(released: ReleasedView, { message, details }: Refusal): void {
  released.problems.push(message);
  const { volume, reason } = details;
  released.stalled.push({ volume: String(volume), reason: String(reason) });
}

/** What went wrong, with the way out. */
function inWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const wayOut = error instanceof Refusal || error instanceof Fault ? error.wayOut : undefined;
  return wayOut === undefined ? error.message : `${error.message} (${wayOut})`;
}

/** A volume whose record says mounted, and which is not: control died in a release, or somebody else unmounted it. */
function isMountLost(
  volume: VolumeRecord,
): volume is VolumeRecord & { readonly mount: MountRecord } {
  const { attachment, mount } = volume;
  if (mount?.state !== 'mounted' || attachment?.state !== 'attached') return false;
  return mountAt(mount.path)?.source !== attachment.device;
}
