/** What a file or a block device lies on, through file systems, partitions, loop devices and device-mapper (sysfs, ABI/stable/sysfs-block). */

import { existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { backingOf } from '../env/linux/loop-device.ts';
import { deviceNumber } from './device-use.ts';
import { FUSE_TYPE } from './fuse-mount.ts';
import { type MountEntry, mountHolding, readMounts } from './mount-table.ts';

/**
 * The block device of a volume of Holdfast that `path` is or lies on; undefined: none. `path` need not be there yet. `own`: block devices
 * of this node's volumes, which the kernel does not show as such where it has nbd.
 */
export function volumeUnder(path: string, own: readonly string[]): string | undefined {
  const numbers = new Set(own.filter((device) => existsSync(device)).map(deviceNumber));
  const mounts = readMounts();
  let there = path;
  while (!existsSync(there)) there = dirname(there);
  const real = realpathSync(there);
  const first = statSync(real).isBlockDevice()
    ? deviceNumber(real)
    : mountHolding(real, mounts)?.device;
  const seen = new Set<string>();
  const look = (number: string): string | undefined => {
    if (seen.has(number)) return undefined;
    seen.add(number);
    const block = blockOf(number, mounts);
    if (block === undefined) return undefined;
    const isOwn = numbers.has(number) || isOverFuse(block, mounts);
    if (isOwn) return join('/dev', basename(block));
    for (const below of belowOf(block, mounts)) {
      const found = look(below);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return first === undefined ? undefined : look(first);
}

/** Its folder in sysfs. Some file systems (btrfs) have a device number of their own: the source of their mount tells theirs. */
function blockOf(number: string, mounts: readonly MountEntry[]): string | undefined {
  const at = `/sys/dev/block/${number}`;
  if (existsSync(at)) return realpathSync(at);
  const source = mounts.find(({ device }) => device === number)?.source ?? '';
  if (!source.startsWith('/dev/') || !existsSync(source)) return undefined;
  return blockOf(deviceNumber(source), []);
}

/** The numbers of the devices that it lies on itself. */
function belowOf(block: string, mounts: readonly MountEntry[]): readonly string[] {
  const numberIn = (folder: string): string => readFileSync(join(folder, 'dev'), 'utf8').trim();
  if (existsSync(join(block, 'partition'))) return [numberIn(dirname(block))];
  const file = backingOf(block);
  const filed = file === undefined ? undefined : mountHolding(file, mounts)?.device;
  const slaves = join(block, 'slaves');
  const held = existsSync(slaves) ? readdirSync(slaves).map((name) => join(slaves, name)) : [];
  return [...(filed === undefined ? [] : [filed]), ...held.map(numberIn)];
}

function isOverFuse(block: string, mounts: readonly MountEntry[]): boolean {
  const file = backingOf(block);
  return file !== undefined && mountHolding(file, mounts)?.type === FUSE_TYPE;
}
