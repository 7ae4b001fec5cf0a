/** The drives of this engine. Each open one has a region: a part of the arena and ports of env.io, used again once it is closed. */

import type { Arena } from '../lib/arena.ts';
import type { Log } from '../model/log.ts';
import type { Env } from '../env/env.ts';
import { Refusal } from '../model/errors.ts';
import { DriveStore } from '../store/drive-store.ts';
import type { VolumeStatus } from '../store/drive-status.ts';
import { FORMAT_BYTES } from '../store/format-drive.ts';
import type { DriveIdentity } from '../store/identify-drive.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { BadBlocks } from './bad-blocks.ts';
import { formatUuid } from '../model/ids.ts';
import type { Progress } from './control-server.ts';
import { DriveIo, IoStock } from './drive-io.ts';
import { Turnstile } from '../lib/turnstile.ts';

/** Drives open at once. */
const DRIVE_COUNT_MAX = 16;
/** What an open drive takes: page cache 16 MiB, log 24 MiB, and some 3 MiB of scratch. */
const DRIVE_MEMORY_BYTES = 50_331_648;
const FORMAT_MEMORY_BYTES: number = FORMAT_BYTES + 65_536;
/** Untouched regions cost nothing. */
export const DRIVES_MEMORY_BYTES: number =
  DRIVE_COUNT_MAX * DRIVE_MEMORY_BYTES + FORMAT_MEMORY_BYTES + 65_536;

/** Control names drives by uuid, and the drive then bears it. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const uuidOf = (id: string): string => id.replaceAll('-', '');

type Region = { readonly arena: Arena; readonly stock: IoStock };

/** A drive as the engine knows it: open, or one that it should open and cannot. */
type Drive = {
  readonly driveId: string;
  readonly path: string;
  readonly store: DriveStore | undefined;
  readonly bad: BadBlocks;
  readonly region: Region | undefined;
  readonly reason: string | undefined;
};

export type OpenDrive = { readonly driveId: string; readonly store: DriveStore };

export type DriveListEntry = {
  readonly driveId: string;
  readonly path: string;
  /** How often a node took the drive over; undefined: never. */
  readonly generation?: number | undefined;
};

export type DrivesOptions = {
  readonly arena: Arena;
  readonly log: Log;
  /** Called when a store has been opened and has registered its hooks. */
  readonly onOpened: () => void;
  /** The cluster that drives are formatted for. */
  readonly cluster: string | undefined;
};

export class Drives {
  readonly #env: Env;
  readonly #options: DrivesOptions;
  readonly #drives = new Map<string, Drive>();
  /** Not in use; something of its last user may still be in flight. */
  readonly #regions: Region[] = [];
  readonly #formatRegion: Arena;
  readonly #turnstile = new Turnstile();

  constructor(env: Env, options: DrivesOptions) {
    this.#env = env;
    this.#options = options;
    this.#formatRegion = options.arena.part(FORMAT_MEMORY_BYTES);
    for (let index = 0; index < DRIVE_COUNT_MAX; index += 1) {
      const arena = options.arena.part(DRIVE_MEMORY_BYTES);
      this.#regions.push({ arena, stock: new IoStock(env.io) });
    }
  }

  /** Formats a file or device as a drive. The same call again finds the drive that it made, by its uuid, and leaves it. */
  async format(
    entry: DriveListEntry,
    options: {
      readonly sizeBytes?: number;
      readonly sparse: boolean;
      readonly force: boolean;
      readonly onProgress: (progress: Progress) => void;
    },
  ): Promise<JsonObject> {
    const { driveId, path } = entry;
    const { cluster } = this.#options;
    return this.#turnstile.enter('format', async () => {
      const known = this.#drives.get(driveId);
      if (known?.store !== undefined) {
        if (known.path === path) return { driveId, sizeBytes: known.store.status().sizeBytes };
        throw new Refusal('DRIVE_NOT_READY', { drive: driveId, state: 'open' });
      }
      this.#formatRegion.reset();
      const made = await DriveStore.format(this.#env, {
        ...options,
        path,
        arena: this.#formatRegion,
        ...(UUID.test(driveId) ? { driveUuid: uuidOf(driveId) } : {}),
        ...(cluster !== undefined && UUID.test(cluster) ? { clusterUuid: uuidOf(cluster) } : {}),
      });
      this.#options.log('drive.formatted', { driveId, path, sizeBytes: made.sizeBytes });
      return { driveId, sizeBytes: made.sizeBytes };
    });
  }

  /** Tells which drive lies at a path that no process has open: see {@link DriveStore.identify}. */
  identify(path: string): Promise<DriveIdentity> {
    return this.#turnstile.enter('format', () => {
      this.#formatRegion.reset();
      return DriveStore.identify(this.#env, { path, arena: this.#formatRegion });
    });
  }

  /** Opens a drive, or finds it open. */
  open(entry: DriveListEntry): Promise<OpenDrive> {
    return this.#turnstile.enter(entry.driveId, () => this.#open(entry));
  }

  /** Opens a drive of the engine's list; a failure is kept with the drive, for its status. */
  async openListed(entry: DriveListEntry): Promise<void> {
    try {
      await this.open(entry);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.log('drive.not_opened', { ...entry, reason });
      this.#drives.set(entry.driveId, {
        ...entry,
        reason,
        bad: new BadBlocks(),
        store: undefined,
        region: undefined,
      });
    }
  }

  async #open(entry: DriveListEntry): Promise<OpenDrive> {
    const { driveId, path, generation = 0 } = entry;
    const known = this.#drives.get(driveId);
    if (known?.store !== undefined) {
      if (known.path === path) return { driveId, store: known.store };
      throw new Refusal('DRIVE_EXISTS', { drive: driveId, difference: `path "${known.path}"` });
    }
    const holder = [...this.#drives.values()].find((drive) => drive.path === path && drive.store);
    if (holder !== undefined) {
      throw new Refusal('DRIVE_PATH_USED', { drive: driveId, path, holder: holder.driveId });
    }
    const region = this.#takeRegion(driveId);
    const env = { ...this.#env, io: new DriveIo(region.stock) };
    const bad = new BadBlocks();
    try {
      const store = await DriveStore.open(env, {
        path,
        arena: region.arena,
        owner: UUID.test(driveId) ? { driveUuid: uuidOf(driveId), generation } : undefined,
        onFault: (reason) => this.#options.log('drive.faulted', { driveId, path, reason }),
        onBad: (block) => {
          const volume = block.volume === undefined ? undefined : formatUuid(block.volume);
          bad.add({ ...block, volume });
          const event = block.kind === 'checksum' ? 'drive.checksum_error' : 'drive.read_error';
          this.#options.log(event, { driveId, path, ...block, volume });
        },
      });
      this.#drives.set(driveId, { driveId, path, store, bad, region, reason: undefined });
      this.#options.onOpened();
      const { recovery } = store.status();
      this.#options.log('drive.opened', { driveId, path, recovery });
      return { driveId, store };
    } catch (error) {
      this.#regions.push(region);
      throw error;
    }
  }

  /** A region with nothing in flight, as new; rather one that was used before, whose memory is there already. */
  #takeRegion(driveId: string): Region {
    const index = this.#regions.findLastIndex(({ stock }) => stock.inFlight === 0);
    const [region] = index < 0 ? [] : this.#regions.splice(index, 1);
    if (region === undefined) {
      const state = `one more than the ${DRIVE_COUNT_MAX} that an engine opens`;
      throw new Refusal('DRIVE_NOT_READY', { drive: driveId, state });
    }
    region.arena.reset();
    region.stock.reset();
    return region;
  }

  /** Closes a drive, cleanly where it is sound. Nothing of it may be attached. Closing what is not open is done. */
  close(driveId: string): Promise<void> {
    return this.#turnstile.enter(driveId, async () => {
      const drive = this.#drives.get(driveId);
      if (drive === undefined) return;
      this.#drives.delete(driveId);
      if (drive.store === undefined || drive.region === undefined) return;
      await drive.store.close();
      this.#regions.push(drive.region);
      this.#options.log('drive.closed', { driveId, path: drive.path });
    });
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#drives.keys()].map((driveId) => this.close(driveId)));
  }

  /** The open drive of this id. Throws DRIVE_NOT_FOUND or, if it could not be opened, DRIVE_NOT_READY. */
  get(driveId: string): DriveStore {
    const drive = this.#drives.get(driveId);
    if (drive === undefined) throw new Refusal('DRIVE_NOT_FOUND', { drive: driveId, hint: '' });
    if (drive.store !== undefined) return drive.store;
    throw new Refusal('DRIVE_NOT_READY', { drive: driveId, state: `faulted: ${drive.reason}` });
  }

  /** Open drives. */
  all(): OpenDrive[] {
    const open: OpenDrive[] = [];
    for (const { driveId, store } of this.#drives.values()) {
      if (store !== undefined) open.push({ driveId, store });
    }
    return open;
  }

  /** The drive that holds a volume, and what it says of it; undefined if no open drive does. Volumes being deleted do not count. */
  find(uuid: string): (OpenDrive & { readonly volume: VolumeStatus }) | undefined {
    for (const drive of this.all()) {
      const volume = drive.store.volume(uuid);
      if (volume?.state === 'live') return { ...drive, volume };
    }
    return undefined;
  }

  /** As drive.list and its siblings report them. */
  status(driveId: string): JsonObject {
    const drive = this.#drives.get(driveId);
    if (drive === undefined) throw new Refusal('DRIVE_NOT_FOUND', { drive: driveId, hint: '' });
    if (drive.store === undefined) {
      return { driveId, path: drive.path, state: 'faulted', reason: drive.reason };
    }
    const { store, bad } = drive;
    return {
      driveId,
      ...store.status(),
      freeVolumes: store.freeVolumes,
      badBlocks: bad.list(),
    };
  }

  statuses(): JsonObject[] {
    return [...this.#drives.keys()].map((driveId) => this.status(driveId));
  }
}
