/** What Holdfast knows of the file systems that it makes: which programs, with which options, and what their exit means. */

import { open } from 'node:fs/promises';

import { Fault } from '../model/errors.ts';
import { runProgram, runReportingProgram } from './run-program.ts';

export const FILE_SYSTEMS = ['ext4', 'xfs'] as const;
export type FsType = (typeof FILE_SYSTEMS)[number];

type FileSystem = {
  /** Debian's package of its programs. */
  readonly package: string;
  readonly make: readonly [program: string, ...values: string[]];
  /** More values for a volume that is zeros from end to end. */
  readonly makeOnZeros: readonly string[];
  readonly mountOptions: string;
};

/**
 * Discards stay on, when made and while mounted: the volume is thin, and space comes back no other way. On zeros there is nothing to
 * discard, which takes a minute for 4 TiB, and no zero is written once more: journal and inode tables would take a GiB of the drive.
 *
 * ext4: no blocks are reserved for root, who does not live there; errors make it read-only; inode tables are zeros on a fresh volume, and
 * the kernel that would zero them once more takes an empty file system (not even lost+found) that e2fsck has seen for a broken one. xfs: `nouuid`, because a file system
 * that processes of a dead attachment keep alive has the same UUID, and its device can do nothing any more.
 */
const COMMON_OPTIONS = 'noatime,nodev,nosuid,discard';
const TABLE: Readonly<Record<FsType, FileSystem>> = {
  ext4: {
    package: 'e2fsprogs',
    make: ['mkfs.ext4', '-q', '-F', '-b', '4096', '-m', '0', '-e', 'remount-ro'],
    makeOnZeros: ['-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'],
    mountOptions: `${COMMON_OPTIONS},noinit_itable`,
  },
  xfs: {
    package: 'xfsprogs',
    make: ['mkfs.xfs', '-q', '-f'],
    makeOnZeros: ['-K'],
    mountOptions: `${COMMON_OPTIONS},nouuid`,
  },
};

/** What mkfs.xfs takes at least since version 5.19; older ones take 16 MiB. */
const XFS_SIZE_MIN = '300MiB';

export const isFsType = (text: string): text is FsType =>
  FILE_SYSTEMS.some((known) => known === text);

export const mountOptionsOf = (fsType: FsType): string => TABLE[fsType].mountOptions;

/** A device and the name of its volume, for messages. */
export type VolumeDevice = { readonly volume: string; readonly device: string };

/** What a device holds: a file system's or partition table's type as blkid names it, or undefined for nothing known. */
export async function probe({ volume, device }: VolumeDevice): Promise<string | undefined> {
  const result = await runProgram('blkid', '--probe', '--output', 'export', device);
  if (result.kind === 'missing') throw missing(volume, 'blkid', 'util-linux');
  if (result.status === 0) {
    return /^(?:PT)?TYPE=(.*)$/m.exec(result.output)?.[1] ?? 'something unknown';
  }
  // 2: nothing was found; 8: several things were.
  if (result.status === 2) return undefined;
  if (result.status === 8) return 'several signatures';
  throw failed(volume, `blkid exited with ${result.status}: ${result.output}`);
}

/** Where blkid looks for what may be there, but for the end of the device. */
const BEGINNING_BYTES = 4 * 1024 * 1024;

/** What came of reading the beginning of the device; undefined where it can be read. */
export async function readProblem(device: string): Promise<string | undefined> {
  const file = await open(device);
  try {
    const buffer = Buffer.alloc(BEGINNING_BYTES);
    // A read that meets a bad block ends before it, and the next one fails.
    for (let position = 0; position < BEGINNING_BYTES;) {
      const { bytesRead } = await file.read({ buffer, position });
      if (bytesRead === 0) break;
      position += bytesRead;
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await file.close();
  }
}

/** Makes the file system. What the device holds is lost; `isZeros`: it holds nothing but zeros. */
export async function make(
  { volume, device }: VolumeDevice,
  { fsType, isZeros }: { readonly fsType: FsType; readonly isZeros: boolean },
): Promise<void> {
  const [program, ...values] = TABLE[fsType].make;
  const more = isZeros ? TABLE[fsType].makeOnZeros : [];
  const result = await runProgram(program, ...values, ...more, device);
  if (result.kind === 'missing') throw missing(volume, program, TABLE[fsType].package);
  if (result.status === 0) return;
  // Its last lines are those of a usage message.
  if (fsType === 'xfs' && /too small|must be larger/.test(result.output)) {
    const way = `holdfast volume resize ${volume} --size ${XFS_SIZE_MIN}`;
    throw failed(volume, `it is too small for xfs, which needs ${XFS_SIZE_MIN} (${way})`);
  }
  throw failed(volume, describeExit(program, result));
}

/** Whether a file system that is not mounted has a journal that is to be replayed. */
export async function hasJournalLeft(
  { volume, device }: VolumeDevice,
  fsType: FsType,
): Promise<boolean> {
  const [program, values, left] = JOURNALS[fsType];
  const result = await runProgram(program, ...values, device);
  if (result.kind === 'missing') throw missing(volume, program, TABLE[fsType].package);
  return left.test(result.output);
}

/** The program that tells of a journal, and what it says of one that is to be replayed. */
const JOURNALS: Readonly<
  Record<FsType, readonly [program: string, values: readonly string[], left: RegExp]>
> = {
  ext4: ['dumpe2fs', ['-h'], /^Filesystem features:.*\bneeds_recovery\b/m],
  xfs: ['xfs_logprint', ['-t'], /state: <DIRTY>/],
};

/** Where e2fsck's passes begin and end, in percent of all its work, as its own bar has them. */
const E2FSCK_PASSES: readonly number[] = [0, 70, 90, 92, 95, 100];

/** Percent of e2fsck's work by a line that it says with -C: the pass, and how far of how much of it is done. */
export function e2fsckPercent(line: string): number | undefined {
  const [, pass, done, total] = /^(\d) (\d+) (\d+) /.exec(line) ?? [];
  const [from, to] = E2FSCK_PASSES.slice(Number(pass) - 1, Number(pass) + 1);
  if (from === undefined || to === undefined || Number(total) === 0) return undefined;
  return Math.floor(from + ((to - from) * Number(done)) / Number(total));
}

/**
 * Repairs what can be repaired without a choice; the journal is replayed. The device is not mounted. `onPercent` hears how much is
 * done.
 */
export async function checkExt4(
  { volume, device }: VolumeDevice,
  onPercent: (percent: number) => void = () => undefined,
): Promise<string> {
  const result = await runReportingProgram('e2fsck', ['-f', '-p', '-C', '3', device], (line) => {
    const percent = e2fsckPercent(line);
    if (percent !== undefined) onPercent(percent);
  });
  if (result.kind === 'missing') throw missing(volume, 'e2fsck', TABLE.ext4.package);
  // e2fsck(8): 1 is "errors corrected", the rest are sums of worse.
  if (result.status <= 1) return lastLines(result.output);
  const remedy = `attach it (holdfast volume attach ${volume}) and look at what e2fsck -n says of the device; e2fsck -y repairs what it can`;
  throw failed(volume, `${describeExit('e2fsck', result)}; ${remedy}`);
}

/** Looks, and changes nothing. The journal was replayed by a mount before. */
export async function checkXfs({ volume, device }: VolumeDevice): Promise<string> {
  const result = await runProgram('xfs_repair', '-n', device);
  if (result.kind === 'missing') throw missing(volume, 'xfs_repair', TABLE.xfs.package);
  if (result.status === 0) return lastLines(result.output);
  const remedy = `attach it (holdfast volume attach ${volume}); xfs_repair of the device repairs it`;
  throw failed(volume, `${describeExit('xfs_repair -n', result)}; ${remedy}`);
}

/**
 * Makes a mounted file system as large as its device has become; one that is as large already stays as it is. `later`: the kernel
 * does not let this process, and the next mount grows it. Throws FILE_SYSTEM_NOT_GROWN.
 */
export async function growMounted(
  { volume, device }: VolumeDevice,
  options: { readonly fsType: FsType; readonly path: string },
): Promise<'grown' | 'later'> {
  const { fsType, path } = options;
  const [program, target] = fsType === 'ext4' ? ['resize2fs', device] : ['xfs_growfs', path];
  const result = await runProgram(program, target);
  if (result.kind === 'missing') {
    throw notGrown(volume, notInstalled(program, TABLE[fsType].package));
  }
  if (result.status === 0) return 'grown';
  // ext4 grows while it is mounted only for those who have CAP_SYS_RESOURCE, which containers lack.
  if (fsType === 'ext4' && result.output.includes('Permission denied')) return 'later';
  throw notGrown(volume, describeExit(program, result));
}

/** The same for an ext4 that is not mounted, and that was checked just before. */
export async function growUnmountedExt4(target: VolumeDevice): Promise<void> {
  const result = await runProgram('resize2fs', target.device);
  if (result.kind === 'missing') throw missing(target.volume, 'resize2fs', TABLE.ext4.package);
  if (result.status !== 0) throw failed(target.volume, describeExit('resize2fs', result));
}

/** Tells the device what a mounted file system no longer uses. Throws TRIM_FAILED. */
export async function trimMounted(volume: string, path: string): Promise<void> {
  const result = await runProgram('fstrim', path);
  if (result.kind === 'ended' && result.status === 0) return;
  const problem =
    result.kind === 'missing'
      ? notInstalled('fstrim', 'util-linux')
      : describeExit('fstrim', result);
  throw new Fault('TRIM_FAILED', { volume, problem });
}

/** What a mount fails with when a program or the kernel refuses. */
export function failed(volume: string, problem: string): Fault {
  return new Fault('MOUNT_FAILED', { volume, problem });
}

/** What a mount fails with when a program is not installed; names the Debian package. */
export function missing(volume: string, program: string, debianPackage: string): Fault {
  return failed(volume, notInstalled(program, debianPackage));
}

function notInstalled(program: string, debianPackage: string): string {
  return `${program} is not installed (apt install ${debianPackage})`;
}

function notGrown(volume: string, problem: string): Fault {
  return new Fault('FILE_SYSTEM_NOT_GROWN', { volume, problem });
}

function describeExit(
  program: string,
  result: { readonly status: number; readonly output: string },
): string {
  return `${program} exited with ${result.status}: ${lastLines(result.output)}`;
}

/** The end of a program's output on one line: what matters comes last. */
function lastLines(output: string): string {
  return output.split('\n').slice(-4).join('; ').slice(-400);
}
