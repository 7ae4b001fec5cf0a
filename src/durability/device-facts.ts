/**
 * What the kernel knows about the disk under a folder: file system, device, caches. All of it comes from /proc and /sys;
 * what is not there (macOS, a container without /sys) is "unknown", never a guess.
 */

import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type DeviceKind =
  | 'memory'
  | 'network file system'
  | 'virtual disk'
  | 'loop device'
  | 'device mapper'
  | 'software raid'
  | 'rotating disk'
  | 'solid-state disk'
  | 'unknown';

export type DeviceFacts = {
  readonly fileSystem: string;
  readonly mountPoint: string;
  readonly mountOptions: readonly string[];
  readonly kind: DeviceKind;
  /** The whole disk's name in /sys/block, not the partition's. */
  readonly device?: string;
  readonly model?: string;
  /** What the kernel believes: with "write through" it sends no flush at all. */
  readonly writeCache: 'write back' | 'write through' | 'unknown';
  readonly fua: boolean | 'unknown';
};

type Mount = {
  readonly deviceNumber: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly fileSystem: string;
  readonly source: string;
};

const MEMORY_FILE_SYSTEMS = new Set(['tmpfs', 'ramfs', 'devtmpfs', 'hugetlbfs']);
const NETWORK_FILE_SYSTEMS = /^(nfs4?|cifs|smb3|9p|virtiofs|ceph|glusterfs|fuse\..*)$/u;
const VIRTUAL_MODELS = /qemu|vmware|virtual|msft|xen|amazon|google|persistentdisk/iu;

/** Describes the disk under `folder`. Throws only if the folder does not exist. */
export function readDeviceFacts(folder: string): DeviceFacts {
  const mount = findMount(realpathSync(folder), readText('/proc/self/mountinfo') ?? '');
  if (mount === undefined) {
    return {
      fileSystem: 'unknown',
      mountPoint: folder,
      mountOptions: [],
      kind: 'unknown',
      writeCache: 'unknown',
      fua: 'unknown',
    };
  }
  const device = wholeDisk(mount);
  const cache = readText(`/sys/block/${device}/queue/write_cache`);
  const fua = readText(`/sys/block/${device}/queue/fua`);
  const model = readText(`/sys/block/${device}/device/model`);
  return {
    fileSystem: mount.fileSystem,
    mountPoint: mount.mountPoint,
    mountOptions: mount.options,
    kind: deviceKind(mount.fileSystem, device, model),
    ...(device === undefined ? {} : { device }),
    ...(model === undefined ? {} : { model }),
    writeCache: cache === 'write back' || cache === 'write through' ? cache : 'unknown',
    fua: fua === undefined ? 'unknown' : fua !== '0',
  };
}

/** Flush requests that the device has completed since boot, or undefined where the kernel does not count them. */
export function readFlushCount(device: string): number | undefined {
  // Documentation/block/stat.rst: field 16, "flush I/Os"; only whole disks have it.
  const field = readText(`/sys/block/${device}/stat`)?.split(/\s+/u)[15];
  return field === undefined ? undefined : Number(field);
}

/** The mount of /proc/self/mountinfo that `path` lies in: the longest mount point, the last of equals. */
export function findMount(path: string, mountinfo: string): Mount | undefined {
  let best: Mount | undefined;
  for (const line of mountinfo.split('\n')) {
    // proc(5): id parent major:minor root mountpoint options [optional...] - fstype source superoptions
    const [left, right] = line.split(' - ');
    const before = left?.split(' ') ?? [];
    const after = right?.split(' ') ?? [];
    const mountPoint = unescapePath(before[4] ?? '');
    const inside =
      path === mountPoint || path.startsWith(mountPoint === '/' ? '/' : `${mountPoint}/`);
    if (mountPoint === '' || !inside) continue;
    if (best !== undefined && mountPoint.length < best.mountPoint.length) continue;
    best = {
      deviceNumber: before[2] ?? '',
      mountPoint,
      options: [...(before[5] ?? '').split(','), ...(after[2] ?? '').split(',')],
      fileSystem: after[0] ?? 'unknown',
      source: unescapePath(after[1] ?? ''),
    };
  }
  return best;
}

/** What kind of device a file system is on, as far as its names tell. */
export function deviceKind(
  fileSystem: string,
  device: string | undefined,
  model: string | undefined,
): DeviceKind {
  if (MEMORY_FILE_SYSTEMS.has(fileSystem)) return 'memory';
  if (NETWORK_FILE_SYSTEMS.test(fileSystem)) return 'network file system';
  if (device === undefined) return 'unknown';
  if (/^(ram|zram)/u.test(device)) return 'memory';
  if (device.startsWith('loop')) return 'loop device';
  if (device.startsWith('dm-')) return 'device mapper';
  if (device.startsWith('md')) return 'software raid';
  if (/^(vd|xvd|nbd)/u.test(device) || VIRTUAL_MODELS.test(model ?? '')) return 'virtual disk';
  const rotational = readText(`/sys/block/${device}/queue/rotational`);
  if (rotational === undefined) return 'unknown';
  return rotational === '1' ? 'rotating disk' : 'solid-state disk';
}

function wholeDisk(mount: Mount): string | undefined {
  try {
    // btrfs and overlay mount under an anonymous number: there the source names the device.
    const link = mount.deviceNumber.startsWith('0:')
      ? `/sys/class/block/${basename(realpathSync(mount.source))}`
      : `/sys/dev/block/${mount.deviceNumber}`;
    const folder = join(dirname(link), readlinkSync(link));
    const isPartition = readText(join(folder, 'partition')) !== undefined;
    return basename(isPartition ? dirname(folder) : folder);
  } catch {
    return undefined;
  }
}

/** mountinfo writes space, tab, newline and backslash as octal. */
function unescapePath(text: string): string {
  return text.replaceAll(/\\(\d{3})/gu, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
