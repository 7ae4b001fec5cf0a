/** Volumes whose replicas are looked after: those that there are, and those that the trash keeps, which may come back out of it. */

import type { VolumeRecord } from '../../model/records.ts';
import type { Kept, RecordsStore } from '../records-store.ts';

/** Of the volume's record. Also who changes the volume takes turns by it. */
export type StoredKey = `volume/${string}` | `trash/${string}`;

export type StoredVolume = { readonly key: StoredKey; readonly volume: VolumeRecord };

type Stored = Pick<RecordsStore, 'volumes' | 'volume' | 'trash' | 'trashed'>;

/** All of them, a moment ago. */
export async function storedVolumes(records: Stored): Promise<readonly StoredVolume[]> {
  const volumes = await records.volumes();
  const trash = (await records.trash()).filter(({ state }) => state === 'kept');
  return [
    ...volumes.map((volume): StoredVolume => ({ key: `volume/${volume.name}`, volume })),
    ...trash.map(({ volume }): StoredVolume => ({ key: `trash/${volume.id}`, volume })),
  ];
}

/** One of them, with the version of its record. */
export async function storedVolume(
  records: Stored,
  key: StoredKey,
): Promise<Kept<VolumeRecord> | undefined> {
  const name = key.slice(key.indexOf('/') + 1);
  if (key.startsWith('volume/')) return records.volume(name);
  const kept = await records.trashed(name);
  if (kept?.record.state !== 'kept') return undefined;
  return { record: kept.record.volume, version: kept.version };
}

/** What src/placement calls it: in the trash several may have one name. */
export const placedName = ({ key, volume }: StoredVolume): string =>
  key.startsWith('trash/') ? key : volume.name;

/** The key of the volume that src/placement calls `name`. */
export const storedKey = (name: string): StoredKey =>
  name.startsWith('trash/') ? `trash/${name.slice('trash/'.length)}` : `volume/${name}`;
