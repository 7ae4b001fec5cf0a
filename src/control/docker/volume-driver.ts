/**
 * The calls of the Docker volume plugin protocol (docs.docker.com, "Docker volume plugins") as use cases on volumes. Each may be
 * repeated: engines do so when a connection was cut, and after their own crash.
 */

import { Fault, Refusal } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import { type UnmountWish, holdersOf } from '../mount-holders.ts';
import type { RecordsStore } from '../records-store.ts';
import type { Volumes } from '../volumes.ts';
import { parseCreateOptions } from './create-options.ts';

/** Of a volume for which no size was given. It takes space only for what is written to it. */
const SIZE_BYTES_DEFAULT = 10 * 2 ** 30;

/** A volume as engines see it. */
export type DriverVolume = {
  readonly Name: string;
  /** Empty while it is not mounted. */
  readonly Mountpoint: string;
  readonly CreatedAt: string;
  readonly Status: Readonly<Record<string, unknown>>;
};

export class VolumeDriver {
  readonly #plugin: string;
  readonly #records: RecordsStore;
  readonly #volumes: Volumes;

  constructor(plugin: string, uses: { readonly records: RecordsStore; readonly volumes: Volumes }) {
    this.#plugin = plugin;
    this.#records = uses.records;
    this.#volumes = uses.volumes;
  }

  /** Creates a volume. One that is there is the same, unless the options say otherwise; then VOLUME_EXISTS. */
  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    const { sizeBytes, ...wish } = parseCreateOptions(options);
    await this.#volumes.create({
      ...wish,
      name,
      sizeBytes: sizeBytes ?? SIZE_BYTES_DEFAULT,
      isSizeDefault: sizeBytes === undefined,
      createdBy: `docker-plugin/${this.#plugin}`,
      plugin: this.#plugin,
    });
  }

  /**
   * Removes a volume that this plugin made, into the trash; no other: Podman's prune takes away whatever it has seen in a list and no container uses.
   * Throws VOLUME_FOREIGN.
   */
  async remove(name: string): Promise<void> {
    const record = (await this.#records.volume(name))?.record;
    if (record === undefined) return;
    const { plugin, mount } = record;
    if (plugin !== this.#plugin) {
      const maker = plugin === undefined ? 'without one' : `by plugin "${plugin}"`;
      throw new Refusal('VOLUME_FOREIGN', { volume: name, plugin: this.#plugin, maker });
    }
    // Engines ask so when no container of theirs has the volume: what they hold still was forgotten in a crash of theirs. The unmount
    // sees whether a container uses it all the same.
    if (mount !== undefined) {
      await this.#unmount(name, { holder: this.#holder(''), isPrefix: true, force: false });
    }
    await this.#volumes.remove(name, { now: false });
  }

  /** Mounts a volume for the mount `id` of an engine. Returns where. */
  async mount(name: string, id: string): Promise<string> {
    const wish = { fsType: undefined, path: undefined, force: false, holder: this.#holder(id) };
    return pathOf(await this.#volumes.mount(name, wish));
  }

  /** Ends the mount `id`. One that is not known is ended already. */
  async unmount(name: string, id: string): Promise<void> {
    await this.#unmount(name, { holder: this.#holder(id), force: false });
  }

  /** A file system that had stopped writing is unmounted all the same: an engine would hold it for mounted, and an event has told people. */
  async #unmount(name: string, wish: UnmountWish): Promise<void> {
    await this.#volumes.unmount(name, wish).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== 'FILE_SYSTEM_STOPPED') throw error;
    });
  }

  #holder(id: string): string {
    return `${this.#plugin}/${id}`;
  }

  /** Where a volume is mounted; empty where it is not. */
  async path(name: string): Promise<string> {
    return pathOf(await this.#volumes.get(name));
  }

  async get(name: string): Promise<DriverVolume> {
    return viewOf(await this.#volumes.get(name));
  }

  /** All volumes of the installation: those of others can be used, too. */
  async list(): Promise<DriverVolume[]> {
    return (await this.#records.volumes()).map(viewOf);
  }
}

const pathOf = ({ mount }: VolumeRecord): string => (mount?.state === 'mounted' ? mount.path : '');

function viewOf(record: VolumeRecord): DriverVolume {
  const { name, createdAtMs, sizeBytes, drive, fsType, mount } = record;
  return {
    Name: name,
    Mountpoint: pathOf(record),
    CreatedAt: new Date(createdAtMs).toISOString(),
    Status: {
      sizeBytes,
      drive,
      fs: mount?.fsType ?? fsType ?? 'ext4',
      holders: mount === undefined ? [] : holdersOf(mount),
    },
  };
}
