/** Checks of the machine: kernel, devices, memory, programs, and who else is interested in block devices. They change nothing. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { usableKinds } from '../../attacher/attacher.ts';
import { hasKernelNbd } from '../../attacher/kernel-nbd.ts';
import { openEnv } from '../../env/node/open-env.ts';
import { processes } from '../../env/node/processes.ts';
import { formatSize } from '../../model/sizes.ts';
import { type Check, ok, problem, warning } from './check.ts';

/** The oldest that Holdfast is made for. */
const KERNEL_MIN = [5, 15] as const;
/** Engine, attacher, control and supervisor take some 350 MiB, and a start more. */
const MEMORY_BYTES_MIN = 512 * 1024 * 1024;
/** The engine's slots and the attacher's buffers that must not be swapped out. */
const LOCKED_BYTES_MIN = 2 * 1024 ** 3;
/** 256 attachments of 16 connections. */
const OPEN_FILES_MIN = 8192;
const CAP_SYS_RESOURCE = 24;
/** Holdfast did not exist before. */
const CLOCK_MIN_MS = Date.UTC(2026, 0, 1);

const TOOLS: readonly (readonly [
  use: string,
  debianPackage: string,
  programs: readonly string[],
])[] = [
  ['mounts', 'mount', ['mount', 'umount']],
  ['ext4', 'e2fsprogs', ['mkfs.ext4', 'e2fsck', 'resize2fs']],
  ['xfs', 'xfsprogs', ['mkfs.xfs', 'xfs_repair', 'xfs_growfs']],
];

/** Programs that open any block device that appears, and may keep it: what they are, and what keeps them away. */
const GRABBERS: readonly (readonly [program: string, wayOut: string])[] = [
  ['udisksd', 'holdfast install writes a udev rule that keeps it away'],
  [
    'multipathd',
    'Put loop and nbd devices on its blacklist, or let holdfast install write its udev rule',
  ],
  ['lvmpolld', 'Give /dev/loop and /dev/nbd to global_filter in lvm.conf'],
];

/** All of them. */
export function checkMachine(): Check[] {
  if (process.platform !== 'linux') {
    const detail = `${process.platform}: volumes are NBD servers here, and cannot be mounted`;
    return [
      warning('kernel', detail, 'Use Linux for block devices and mounts'),
      checkClock(Date.now()),
    ];
  }
  return [
    checkKernel(os.release()),
    checkIo(),
    checkDevices(),
    ...checkTools(),
    checkMemory(readText('/proc/meminfo'), readText('/sys/fs/cgroup/memory.max')),
    ...checkLimits(readText('/proc/self/limits')),
    checkOomScore(readText('/proc/self/status')),
    checkClock(Date.now()),
    ...checkGrabbers(),
  ];
}

/** `release`: of uname(2). */
export function checkKernel(release: string): Check {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const isOld = major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1]);
  return isOld
    ? warning(
        'kernel',
        `Linux ${release} is older than what Holdfast is made for`,
        `Use ${KERNEL_MIN.join('.')} or newer`,
      )
    : ok('kernel', `Linux ${release}`);
}

function checkIo(): Check {
  const { ioChoice } = openEnv({ io: 'auto', memoryBytes: 65_536 });
  return ioChoice.kind === 'io_uring'
    ? ok('io_uring', 'passes its self-test')
    : warning(
        'io_uring',
        `cannot be used (${ioChoice.reason ?? 'no reason given'}): I/O is slower`,
        'Allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, and set kernel.io_uring_disabled=0',
      );
}

function checkDevices(): Check {
  const kinds = usableKinds();
  if (kinds.length > 0) return ok('block devices', kinds.join(', '));
  const missing = [
    ...(process.getuid?.() === 0 ? [] : ['this user is not root']),
    ...(hasKernelNbd() ? [] : ['the kernel has no nbd driver (modprobe nbd)']),
    ...['/dev/fuse', '/dev/loop-control']
      .filter((node) => !fs.existsSync(node))
      .map((node) => `there is no ${node}`),
  ];
  return warning(
    'block devices',
    `volumes cannot be attached as devices or mounted: ${missing.join(', ')}`,
    'Run as root with the nbd driver, or with /dev/fuse and loop devices; volume attach --nbd works without',
  );
}

/** `folders`: where programs are looked for. */
export function checkTools(
  folders: readonly string[] = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin'),
): Check[] {
  const isThere = (program: string): boolean =>
    folders.some((folder) => fs.existsSync(path.join(folder, program)));
  return TOOLS.map(([use, debianPackage, programs]) => {
    const missing = programs.filter((program) => !isThere(program));
    if (missing.length === 0) return ok(`tools for ${use}`, programs.join(', '));
    const detail = `not installed: ${missing.join(', ')}`;
    return warning(`tools for ${use}`, detail, `apt install ${debianPackage}`);
  });
}

/** `meminfo`: /proc/meminfo; `limit`: memory.max of the control group. */
export function checkMemory(meminfo: string, limit: string): Check {
  const kib = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? Infinity);
  const allowed = /^\d+$/.test(limit.trim()) ? Number(limit) : Infinity;
  const bytes = Math.min(kib * 1024, allowed);
  if (bytes >= MEMORY_BYTES_MIN) return ok('memory', `${formatSize(Math.floor(bytes))} can be had`);
  return warning(
    'memory',
    `${formatSize(bytes)} can be had: Holdfast may be killed when it is used`,
    `Leave it ${formatSize(MEMORY_BYTES_MIN)}`,
  );
}

/** `limits`: /proc/self/limits. */
export function checkLimits(limits: string): Check[] {
  const hard = (name: string): number => {
    const [, value = 'unlimited'] =
      new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, 'm').exec(limits) ?? [];
    return value === 'unlimited' ? Infinity : Number(value);
  };
  const locked = hard('Max locked memory');
  const files = hard('Max open files');
  return [
    locked >= LOCKED_BYTES_MIN || process.getuid?.() === 0
      ? ok(
          'locked memory',
          locked === Infinity
            ? 'not limited'
            : `${formatSize(locked)}, and root is not bound by it`,
        )
      : warning(
          'locked memory',
          `${formatSize(locked)} may be locked: buffers may be swapped out while I/O needs them`,
          'ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit',
        ),
    files >= OPEN_FILES_MIN
      ? ok('open files', String(files))
      : warning(
          'open files',
          `${files} at most: fewer volumes can be attached`,
          'ulimit -n 65536, or LimitNOFILE=65536 in the unit',
        ),
  ];
}

/** `status`: /proc/self/status. */
export function checkOomScore(status: string): Check {
  const capabilities = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  if (((capabilities >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 1n)
    return ok('oom_score_adj', 'may be lowered');
  return warning(
    'oom_score_adj',
    'may not be lowered: where memory is short the engine may be killed first, and I/O stalls until it is back',
    'Run as root with CAP_SYS_RESOURCE (in a container: --cap-add SYS_RESOURCE)',
  );
}

/** `nowMs`: what the clock says. */
export function checkClock(nowMs: number): Check {
  const now = new Date(nowMs).toISOString();
  return nowMs >= CLOCK_MIN_MS
    ? ok('clock', now)
    : problem('clock', `${now} cannot be now`, 'Set it (timedatectl set-ntp true)');
}

function checkGrabbers(): Check[] {
  const running = new Set(
    processes.pids().map((pid) => path.basename(processes.wordsOf(pid)[0] ?? '')),
  );
  const found = GRABBERS.filter(([program]) => running.has(program));
  if (found.length === 0) return [ok('other software', 'none that grabs block devices runs')];
  const isRuled = ['/etc/udev/rules.d', '/usr/lib/udev/rules.d', '/lib/udev/rules.d'].some(
    (folder) =>
      fs.existsSync(folder) && fs.readdirSync(folder).some((name) => name.includes('holdfast')),
  );
  if (isRuled)
    return [
      ok(
        'other software',
        `${found.map(([program]) => program).join(', ')}, kept away by a udev rule`,
      ),
    ];
  return found.map(([program, wayOut]) =>
    warning(
      'other software',
      `${program} runs, and may open or keep the devices of volumes`,
      wayOut,
    ),
  );
}

/** A file of the kernel; empty where there is none. */
function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
