/** Who holds a mount: people by the API, and container engines by the ids of their mounts. The last one to go unmounts it. */

import { Refusal } from '../model/errors.ts';
import type { MountRecord, VolumeRecord } from '../model/records.ts';
import { decideAgain } from './conflicts.ts';
import type { ControlParts } from './parts.ts';

export type MountWish = {
  /** What the volume has or was to have without it, else ext4. */
  readonly fsType: 'ext4' | 'xfs' | undefined;
  /** Where it is mounted without it, else DIR/mnt/NAME. */
  readonly path: string | undefined;
  readonly force: boolean;
  readonly holder: string;
};

export type UnmountWish = {
  readonly holder: string;
  /** Not this one alone, but all whose names begin so: a container engine's. None of them where somebody else holds it too. */
  readonly isPrefix?: boolean;
  /** Whoever else holds it. */
  readonly force: boolean;
};

/** The API's one hold: a mount that is asked for twice is ended by one unmount. */
export const API_HOLDER = 'api';

const HOLDERS_SHOWN_MAX = 3;
/** As much of an id as Docker shows of its own. */
const ID_LENGTH_SHOWN = 12;

/** Those that hold it; none where its last holder went and could not unmount it. */
export const holdersOf = (mount: MountRecord): readonly string[] => mount.holders ?? [API_HOLDER];

/** The container engines' holds. */
export const pluginHoldersOf = (mount: MountRecord): readonly string[] =>
  holdersOf(mount).filter((holder) => holder !== API_HOLDER);

/** A holder for people: ids of engines are long. */
export function shortHolder(holder: string): string {
  const [plugin = '', id] = holder.split('/');
  return id === undefined ? plugin : `${plugin}/${id.slice(0, ID_LENGTH_SHOWN)}`;
}

/** Throws VOLUME_HELD while containers use the volume. */
export function refuseHeld(
  { name, mount }: VolumeRecord,
  action: 'unmount' | 'remove' | 'detach',
): void {
  const held = mount === undefined ? [] : pluginHoldersOf(mount);
  if (held.length === 0) return;
  const more =
    held.length > HOLDERS_SHOWN_MAX ? ` and ${held.length - HOLDERS_SHOWN_MAX} more` : '';
  const holders = `${held.slice(0, HOLDERS_SHOWN_MAX).map(shortHolder).join(', ')}${more}`;
  throw new Refusal('VOLUME_HELD', { volume: name, action, holders });
}

/** A mount that is wanted, with its first holder. */
export function newMount(
  { fsType, attachment }: VolumeRecord,
  wish: MountWish & { readonly path: string; readonly bootId: string },
): MountRecord {
  return {
    path: wish.path,
    fsType: wish.fsType ?? fsType ?? 'ext4',
    force: wish.force,
    ...(wish.force ? { wasForced: true } : {}),
    state: 'mounting',
    growsAtNextMount: false,
    attached: attachment === undefined,
    holders: [wish.holder],
    bootId: wish.bootId,
  };
}

/**
 * A mount with one holder more. Throws VOLUME_MOUNTED_OTHERWISE where it is another than is wished, and MOUNT_PRESENT where its file system
 * is to be made by force: it was not, or is to be put back as it was.
 */
export function withHolder(
  { name }: VolumeRecord,
  mount: MountRecord,
  wish: MountWish & { readonly bootId: string },
): MountRecord {
  const { fsType = mount.fsType, path = mount.path, holder, bootId } = wish;
  if (mount.path !== path || mount.fsType !== fsType) {
    const wanted = `with ${fsType} at "${path}"`;
    const actual = `with ${mount.fsType} at "${mount.path}"`;
    throw new Refusal('VOLUME_MOUNTED_OTHERWISE', { volume: name, wanted, actual });
  }
  // The same request once more is done already.
  const isDone = mount.wasForced === true && mount.state !== 'remounting';
  if (wish.force && !isDone) throw new Refusal('MOUNT_PRESENT', { volume: name, path });
  return { ...mount, holders: [...new Set([...holdersOf(mount), holder])], bootId };
}

/** A mount with one holder less; without any it is `unmounting`. Throws VOLUME_HELD to the API while containers use it. */
export function withoutHolder(
  volume: VolumeRecord,
  mount: MountRecord,
  { holder, isPrefix = false, force }: UnmountWish,
): MountRecord {
  if (holder === API_HOLDER && !force) refuseHeld(volume, 'unmount');
  const holders = holdersOf(mount);
  if (isPrefix) {
    const isTheirs = holders.every((each) => each.startsWith(holder));
    return isTheirs ? { ...mount, state: 'unmounting' } : mount;
  }
  const left = force ? [] : holders.filter((each) => each !== holder);
  // Engines repeat what they are not sure of: whoever holds nothing ends nothing.
  const mayEnd = force || holder === API_HOLDER || holders.includes(holder);
  if (left.length > 0 || !mayEnd) return { ...mount, holders: left };
  // An engine says so once. The API's hold, or those that are to end by force, stay until the mount is gone.
  const kept = force || holder === API_HOLDER ? holders : [];
  return { ...mount, holders: kept, state: 'unmounting' };
}

/**
 * At a start, before anything else: containers of an earlier run of the machine hold nothing any more, and their engine asks anew for
 * those that it starts again. What nobody else holds is wanted unmounted.
 */
export async function dropEarlierHolders({ records, bootId, node }: ControlParts): Promise<void> {
  for (const { name, attachment, mount: known } of await records.volumes()) {
    if (attachment?.node !== node) continue;
    if (known?.holders === undefined || known.bootId === bootId) continue;
    await decideAgain(async () => {
      const kept = await records.volume(name);
      const mount = kept?.record.mount;
      if (kept === undefined || mount?.holders === undefined || mount.bootId === bootId) return;
      const holders = mount.holders.filter((holder) => holder === API_HOLDER);
      const state = holders.length > 0 ? mount.state : 'unmounting';
      const dropped = { ...kept.record, mount: { ...mount, holders, bootId, state } };
      await records.putVolume(dropped, kept.version);
    });
  }
}
