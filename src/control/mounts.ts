/**
 * File systems on attached volumes: make, mount, unmount, check, grow. Every call may be repeated: what is done already is
 * found and left, what stands in the way is named with the way out. Mounts are recorded before they are made, for the sweep.
 */

import { existsSync } from 'node:fs';
import { mkdtemp, readdir, realpath, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { isClaimed, mountsOf } from '../attacher/device-use.ts';
import { type MadeMount, removeMadeDirectories } from '../attacher/made-directories.ts';
import type { MadeLog } from '../attacher/made-log.ts';
import { mountAt, mountsBelow } from '../attacher/mount-table.ts';
import { Turnstile } from '../lib/turnstile.ts';
import { Fault, Refusal } from '../model/errors.ts';
import { formatSize } from '../model/sizes.ts';
import {
  type FsType,
  type VolumeDevice,
  checkExt4,
  checkXfs,
  failed,
  growMounted,
  growUnmountedExt4,
  hasJournalLeft,
  isFsType,
  make,
  missing,
  mountOptionsOf,
  probe,
  readProblem,
} from './file-systems.ts';
import {
  type Directory,
  ensureDirectory,
  kernelPath,
  nearestDirectory,
  pathProblem,
  realPathOf,
} from './mount-directory.ts';
import { namespaceUsersOf, usersOf } from './path-users.ts';
import { runProgram } from './run-program.ts';

export type FileSystemWish = {
  readonly fsType: FsType;
  /** Over whatever is there. */
  readonly force: boolean;
  /** Nothing was ever written to the volume. */
  readonly isBlank: boolean;
  /** Called before one is made. */
  readonly onMake?: () => Promise<void>;
};

/**
 * Makes a file system on a volume that is blank, or by `force`. What is found is left; what is neither found nor blank is data that
 * nobody gave up. Throws MOUNT_FOREIGN, MOUNT_UNREADABLE, MOUNT_NOT_BLANK.
 */
export async function ensureFileSystem(
  target: VolumeDevice,
  wish: FileSystemWish,
): Promise<'made' | 'found'> {
  const { fsType, force, isBlank } = wish;
  const { volume, device } = target;
  if (!force) {
    const found = await probe(target);
    if (found === fsType) return 'found';
    if (found !== undefined) {
      const way = isFsType(found)
        ? `--fs ${found} mounts what is there`
        : `holdfast volume attach ${volume} gives it as a block device`;
      throw new Refusal('MOUNT_FOREIGN', { volume, wanted: fsType, found, way });
    }
    if (!isBlank) await refuseData(target, fsType);
  }
  const [path] = mountsOf(device);
  if (path !== undefined) throw new Refusal('VOLUME_MOUNTED', { volume, path });
  await wish.onMake?.();
  // By force it may be one that a crash left half made, of which not all is known.
  await make(target, { fsType, isZeros: isBlank && !force });
  return 'made';
}

/** blkid says nothing of what it could not read. */
async function refuseData({ volume, device }: VolumeDevice, wanted: FsType): Promise<never> {
  const problem = await readProblem(device);
  if (problem === undefined) throw new Refusal('MOUNT_NOT_BLANK', { volume, wanted });
  throw new Refusal('MOUNT_UNREADABLE', { volume, problem });
}

export type MountOptions = {
  readonly fsType: FsType;
  readonly path: string;
  readonly made: MadeLog;
};

/** One after the other at each path: a second one would cover the first, which the look before it does not see yet. */
const mounting = new Turnstile();

/** Mounts at `path`, which is made if it is missing and must be empty. Resolves with the path as the kernel knows it. */
export async function mountFileSystem(
  target: VolumeDevice,
  options: MountOptions,
): Promise<string> {
  const path = await kernelPath(options.path);
  return mounting.enter(path, () => mountInTurn(target, { ...options, path }));
}

async function mountInTurn(target: VolumeDevice, options: MountOptions): Promise<string> {
  const { device } = target;
  const directory = await ensureDirectory(options.path);
  const { path } = directory;
  const made = mountOf(options.made, device, directory);
  if (mountAt(path)?.source === device) return path;
  try {
    await refuseUsed(target, path);
    options.made.record(made);
    await runMount(target, { fsType: options.fsType, path });
  } catch (error) {
    removeMadeDirectories(options.made, made);
    options.made.forget(made);
    throw error;
  }
  return path;
}

/**
 * Throws MOUNT_PATH_USED where nothing can be mounted at `path`, and VOLUME_MOUNTED_OTHERWISE for a device that is mounted elsewhere; the
 * device is empty where there is none yet. Changes nothing.
 */
export async function refuseMountPoint(path: string, target: VolumeDevice): Promise<void> {
  try {
    const there = await nearestDirectory(path);
    if (there === path) return await refuseUsed(target, await realpath(path));
    // Whether a directory can be made is known only by making one: in /proc, or where all is read-only, none can.
    await rmdir(await mkdtemp(join(there, '.holdfast-')));
  } catch (error) {
    throw pathProblem(path, error);
  }
}

/** Refuses a path that holds anything, and a device that is mounted elsewhere. */
async function refuseUsed({ volume, device }: VolumeDevice, path: string): Promise<void> {
  const there = mountAt(path);
  if (there !== undefined) {
    if (there.source === device) return;
    const problem = `"${there.source}" (${there.type}) is mounted there`;
    throw new Refusal('MOUNT_PATH_USED', { path, problem });
  }
  const [elsewhere] = device === '' ? [] : mountsOf(device);
  if (elsewhere !== undefined) {
    const actual = `at "${elsewhere}"`;
    throw new Refusal('VOLUME_MOUNTED_OTHERWISE', { volume, wanted: `at "${path}"`, actual });
  }
  if ((await readdir(path)).length > 0) {
    throw new Refusal('MOUNT_PATH_USED', { path, problem: 'the directory is not empty' });
  }
}

/**
 * What mkfs.ext4 leaves in an empty file system. Programs that want an empty folder (initdb, Docker's copy of what the image has there)
 * stumble over it, and an e2fsck that somebody runs by hand makes it again.
 */
export async function clearLostAndFound(path: string): Promise<void> {
  if ((await readdir(path)).join() !== 'lost+found') return;
  // What is in it, or a drive that is full, keeps it.
  await rmdir(join(path, 'lost+found')).catch(() => undefined);
}

/**
 * Unmounts what `device` has at `path`. `unclean`: the file system had stopped writing, as it does where its drive is full or fails; what
 * was synced is in its journal still. Throws MOUNT_BUSY with the processes that use it, those of containers included: a container's
 * mount is one of its own, and would keep the device when ours is gone.
 */
export async function unmountFileSystem(
  target: VolumeDevice,
  options: { readonly path: string; readonly made: MadeLog },
): Promise<'clean' | 'unclean'> {
  const { volume, device } = target;
  const path = await realPathOf(options.path);
  const there = mountAt(path);
  let isUnclean = false;
  if (there !== undefined && there.source === device) {
    const result = await runProgram('umount', path);
    if (result.kind === 'missing') throw missing(volume, 'umount', 'mount');
    if (result.status !== 0) {
      const users = await usersOf(path);
      const [below] = mountsBelow(path);
      if (users.length === 0 && below === undefined) {
        throw new Fault('UNMOUNT_FAILED', { volume, problem: `umount: ${result.output}` });
      }
      const inside = below === undefined ? [] : [`"${below.source}" is mounted in "${below.path}"`];
      const told = users.length === 0 ? inside : [describeUsers(users), ...inside];
      throw new Refusal('MOUNT_BUSY', { path, users: told.join('; ') });
    }
    if (!(await isLetGo(device))) {
      const [other] = mountsOf(device);
      const users = await namespaceUsersOf(device);
      if (isFsType(there.type)) await runMount(target, { fsType: there.type, path });
      const told = other === undefined ? describeUsers(users) : `it is mounted at "${other}" too`;
      throw new Refusal('MOUNT_BUSY', { path, users: told });
    }
    isUnclean = isFsType(there.type) && (await hasJournalLeft(target, there.type));
  } else {
    refuseElsewhere(target, path);
  }
  await forgetMount(options.made, { path, device });
  return isUnclean ? 'unclean' : 'clean';
}

/** Refuses to take for unmounted what is mounted where it cannot be reached, or was moved by somebody. */
function refuseElsewhere({ device }: VolumeDevice, path: string): void {
  if (!existsSync(device)) return;
  const at = mountsOf(device);
  if (at.length === 0) return;
  const over = mountAt(path);
  const users =
    at.includes(path) && over !== undefined
      ? `"${over.source}" (${over.type}) is mounted over it`
      : `it is mounted at "${at[0]}" now`;
  throw new Refusal('MOUNT_BUSY', { path, users });
}

/** Containers that ended let go of their mounts some ms after their engine said so. */
const LET_GO_MS = 2000;
const LET_GO_POLL_MS = 20;

/** Whether no other mount of the device is left. */
async function isLetGo(device: string): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < LET_GO_MS; waitedMs += LET_GO_POLL_MS) {
    // A device that is dead or gone is nobody's.
    if (!(await isClaimed(device).catch(() => false))) return true;
    await sleep(LET_GO_POLL_MS);
  }
  return false;
}

export type CheckOptions = {
  readonly fsType: FsType;
  readonly scratchDir: string;
  readonly made: MadeLog;
  readonly drive: string;
  /** Free on that drive. */
  readonly roomBytes: number;
  /** How much of it is done, where the program says so. */
  readonly onPercent?: (percent: number) => void;
};

/** Journals are no larger but for the largest of xfs: mkfs.ext4 makes 1 GiB at most, mkfs.xfs 2 GiB. */
const JOURNAL_BYTES_MAX = 1024 ** 3;

/**
 * Checks a file system that is not mounted, and replays its journal: ext4 by e2fsck, which also repairs what needs no choice;
 * xfs by mounting it once at `scratchDir`/UUID, then looking. Resolves with a sentence. Throws where it needs somebody's choice,
 * and MOUNT_NO_ROOM, with the journal as it was, where the drive has too little room for a replay.
 */
export async function checkFileSystem(
  target: VolumeDevice,
  options: CheckOptions,
): Promise<string> {
  const [path] = mountsOf(target.device);
  if (path !== undefined) throw new Refusal('VOLUME_MOUNTED', { volume: target.volume, path });
  const { fsType, roomBytes } = options;
  const isShort = roomBytes < JOURNAL_BYTES_MAX;
  // Where its blocks cannot be written e2fsck drops the journal, and with it what was synced; the kernel keeps it.
  if (fsType === 'xfs' || (isShort && (await hasJournalLeft(target, 'ext4')))) {
    await replay(target, options);
  }
  return fsType === 'ext4' ? checkExt4(target, options.onPercent) : checkXfs(target);
}

async function replay(target: VolumeDevice, options: CheckOptions): Promise<void> {
  const scratch = join(options.scratchDir, `check-${basename(target.device)}`);
  try {
    const mounted = await mountFileSystem(target, { ...options, path: scratch });
    await unmountFileSystem(target, { path: mounted, made: options.made });
  } catch (error) {
    if (options.roomBytes >= JOURNAL_BYTES_MAX) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    const free = formatSize(options.roomBytes);
    const { volume } = target;
    throw new Refusal('MOUNT_NO_ROOM', { volume, drive: options.drive, free, problem });
  }
}

/** Before a mount: makes an ext4 as large as its device. An xfs can grow only when it is mounted. */
export async function growUnmounted(target: VolumeDevice, fsType: FsType): Promise<void> {
  const [path] = mountsOf(target.device);
  if (path !== undefined) throw new Refusal('VOLUME_MOUNTED', { volume: target.volume, path });
  if (fsType === 'ext4') await growUnmountedExt4(target);
}

/** Makes the file system mounted at `path` as large as its device, or tells that the next mount will. */
export async function growFileSystem(
  target: VolumeDevice,
  options: { readonly fsType: FsType; readonly path: string },
): Promise<'grown' | 'later'> {
  const path = await realPathOf(options.path);
  if (mountAt(path)?.source !== target.device) {
    throw new Refusal('VOLUME_NOT_MOUNTED', { volume: target.volume });
  }
  return growMounted(target, { fsType: options.fsType, path });
}

async function runMount(
  target: VolumeDevice,
  options: { readonly fsType: FsType; readonly path: string },
): Promise<void> {
  const { volume, device } = target;
  const { fsType, path } = options;
  const result = await runProgram(
    'mount',
    '-t',
    fsType,
    '-o',
    mountOptionsOf(fsType),
    device,
    path,
  );
  if (result.kind === 'missing') throw missing(volume, 'mount', 'mount');
  if (result.status === 0) return;
  const found = await probe(target);
  if (found !== fsType) {
    throw failed(volume, `it holds ${found ?? 'no file system'}, not ${fsType}`);
  }
  throw failed(volume, `mount: ${result.output} (the kernel log, dmesg, may have more)`);
}

/** What is to be recorded: also what an earlier try made and recorded, which did not come to its end. */
function mountOf(log: MadeLog, device: string, directory: Directory): MadeMount {
  const { path } = directory;
  const before = log
    .entries()
    .find((made) => made.kind === 'mount' && made.path === path && made.device === device);
  const earlier = before?.kind === 'mount' ? before : { owned: false, parents: [] };
  return {
    kind: 'mount',
    path,
    device,
    owned: directory.owned || earlier.owned,
    parents: [...new Set([...earlier.parents, ...directory.parents])].toSorted(
      (a, b) => a.length - b.length,
    ),
  };
}

/** What was made for a mount that is gone, is no more. */
export async function forgetMount(
  log: MadeLog,
  mount: { readonly path: string; readonly device: string },
): Promise<void> {
  for (const made of log.entries()) {
    if (made.kind !== 'mount' || made.path !== mount.path || made.device !== mount.device) continue;
    removeMadeDirectories(log, made);
    log.forget(made);
  }
}

const USERS_SHOWN_MAX = 5;

function describeUsers(users: readonly { readonly pid: number; readonly name: string }[]): string {
  if (users.length === 0) return 'a process that cannot be seen uses it';
  const shown = users.slice(0, USERS_SHOWN_MAX).map(({ pid, name }) => `${pid} (${name})`);
  const more = users.length > shown.length ? ` and ${users.length - shown.length} more` : '';
  return `process ${shown.join(', ')}${more} uses it`;
}
