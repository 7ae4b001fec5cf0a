/** Space, looked after: volumes grow by their policy, drives that fill up are told of, the trash is purged when its time is over. */

import { statfs } from 'node:fs/promises';

import { mountAt } from '../attacher/mount-table.ts';
import type { AutoGrow, VolumeRecord } from '../model/records.ts';
import { formatSize } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { Drives } from './drives.ts';
import { type ControlParts, tell } from './parts.ts';
import type { PurgeClock } from './purge-clock.ts';
import type { Trash } from './trash.ts';
import type { Volumes } from './volumes.ts';

/** A volume that fills at 200 MB/s takes a second for 200 MB: its step and its last tenth have to be larger than that. */
const LOOK_EVERY_MS = 5000;
/** Of a volume that grows by itself. */
const FULL_RATIO = 0.9;
/** So much emptier a drive has to become before a level is told again. */
const HYSTERESIS_PERCENT = 5;
const LARGEST_SHOWN = 3;

export type SpaceUses = {
  readonly drives: Drives;
  readonly volumes: Volumes;
  readonly trash: Trash;
  readonly clock: PurgeClock;
};

/** Looks every few seconds while control runs. */
export class SpaceKeeper {
  readonly #parts: ControlParts;
  readonly #uses: SpaceUses;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  /** The alert level that was told last, by drive id. */
  readonly #levels = new Map<string, number>();
  /** Why a volume could not grow, as it was told last, by volume id. */
  readonly #hindrances = new Map<string, string>();

  constructor(parts: ControlParts, uses: SpaceUses) {
    this.#parts = parts;
    this.#uses = uses;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS);
  }

  /** Ends what it is doing, and does no more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Looks after everything, unless it is at it. Never rejects: what fails is tried again at the next look. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        this.#parts.log('control.space_lost', { error: String(error) });
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #look(): Promise<void> {
    await this.#uses.trash.purgeExpired(this.#uses.clock.look());
    await this.#tellFullDrives();
    for (const volume of await this.#parts.records.volumes()) {
      if (volume.autoGrow === undefined || volume.attachment === undefined) continue;
      if (volume.attachment.node !== this.#parts.node) continue;
      await this.#growIfFull(volume, volume.autoGrow).catch((error: unknown) => {
        this.#parts.log('control.space_lost', { volume: volume.name, error: String(error) });
      });
    }
  }

  async #tellFullDrives(): Promise<void> {
    const { records } = this.#parts;
    const { driveAlertPercents } = await records.settings();
    const statuses = await this.#uses.drives.engineStatus();
    for (const { id, name } of await records.drives()) {
      const percent = filledPercent(statuses.get(id));
      if (percent === undefined) continue;
      const told = this.#levels.get(id) ?? 0;
      const level = alertLevel(percent, driveAlertPercents, told);
      this.#levels.set(id, level);
      if (level > told) await this.#tellFull(name, statuses.get(id) ?? {}, percent);
    }
  }

  async #tellFull(drive: string, status: JsonObject, percent: number): Promise<void> {
    const { records } = this.#parts;
    const volumes = (await records.volumes()).filter((volume) => volume.drive === drive);
    const trash = (await records.trash()).filter(({ volume }) => volume.drive === drive);
    const ids = [...volumes, ...trash.map(({ volume }) => volume)].map(({ id }) => id);
    const engine = await this.#uses.volumes.engineStatus(ids);
    const sizeOf = (id: string): number => Number(engine.get(id)?.['allocatedBytes'] ?? 0);
    const largest = volumes
      .toSorted((a, b) => sizeOf(b.id) - sizeOf(a.id))
      .slice(0, LARGEST_SHOWN)
      .map(({ id, name }) => `"${name}" ${formatSize(sizeOf(id))}`);
    const trashBytes = trash.reduce((sum, { volume }) => sum + sizeOf(volume.id), 0);
    const free = formatSize(Number(status['freeBytes']));
    const takers = [
      ...(largest.length === 0 ? [] : [`its largest volumes are ${largest.join(', ')}`]),
      ...(trashBytes === 0
        ? []
        : [`the trash has ${formatSize(trashBytes)} (holdfast trash empty)`]),
    ];
    await tell(this.#parts, 'drive.filling', {
      subject: `drive/${drive}`,
      what: `Drive "${drive}" is ${percent} % full, ${free} free`,
      cause: takers.join('; ') || undefined,
    });
  }

  async #growIfFull(volume: VolumeRecord, { stepBytes, ceilingBytes }: AutoGrow): Promise<void> {
    const { id, name, sizeBytes, mount } = volume;
    const ratio = await this.#filled(volume);
    if (ratio === undefined || ratio < FULL_RATIO) {
      this.#hindrances.delete(id);
      return;
    }
    const percent = Math.floor(ratio * 100);
    if (mount?.growsAtNextMount === true) {
      return this.#tellHindrance(
        volume,
        `it has ${formatSize(sizeBytes)} already, and its file system follows at the next mount: the kernel wants CAP_SYS_RESOURCE to grow a mounted ext4`,
      );
    }
    if (sizeBytes >= ceilingBytes) {
      return this.#tellHindrance(
        volume,
        `it is at its ceiling of ${formatSize(ceilingBytes)} (holdfast volume auto-grow ${name} --ceiling SIZE)`,
      );
    }
    const nextBytes = Math.min(sizeBytes + stepBytes, ceilingBytes);
    try {
      await this.#uses.volumes.change(name, { sizeBytes: nextBytes });
    } catch (error) {
      return this.#tellHindrance(volume, error instanceof Error ? error.message : String(error));
    }
    return tell(this.#parts, 'volume.grown', {
      subject: `volume/${name}`,
      what: `Volume "${name}" grew from ${formatSize(sizeBytes)} to ${formatSize(nextBytes)} of at most ${formatSize(ceilingBytes)}`,
      cause: `it was ${percent} % full`,
    });
  }

  /** Once for each reason. */
  async #tellHindrance({ id, name }: VolumeRecord, problem: string): Promise<void> {
    if (this.#hindrances.get(id) === problem) return;
    this.#hindrances.set(id, problem);
    await tell(this.#parts, 'volume.not_grown', {
      subject: `volume/${name}`,
      what: `Volume "${name}" is nearly full and does not grow`,
      cause: problem,
    });
  }

  /** How full a volume is: its file system where that is mounted, else its blocks. Undefined while that cannot be told. */
  async #filled(volume: VolumeRecord): Promise<number | undefined> {
    const { attachment, mount, sizeBytes } = volume;
    if (mount !== undefined) {
      const isThere = mountAt(mount.path)?.source === attachment?.device;
      if (mount.state !== 'mounted' || !isThere) return undefined;
      const { blocks, bfree, bavail } = await statfs(mount.path);
      const used = blocks - bfree;
      return used / (used + bavail);
    }
    const allocatedBytes = (await this.#uses.volumes.engineStatusOf(volume))?.['allocatedBytes'];
    return typeof allocatedBytes === 'number' ? allocatedBytes / sizeBytes : undefined;
  }
}

function filledPercent(status: JsonObject | undefined): number | undefined {
  const used = Number(status?.['usedBytes']);
  const free = Number(status?.['freeBytes']);
  return used + free > 0 ? Math.floor((100 * used) / (used + free)) : undefined;
}

/**
 * The highest level at or below `percent`; one that was `told` holds until the drive is {@link HYSTERESIS_PERCENT} emptier. 0: none.
 * Levels and results are in percent.
 */
export function alertLevel(percent: number, levels: readonly number[], told: number): number {
  const reached = levels.findLast((level) => level <= percent) ?? 0;
  return reached < told && percent > told - HYSTERESIS_PERCENT ? told : reached;
}
