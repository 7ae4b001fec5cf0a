/**
 * Programs that come as Debian packages: which are missing, and installing them without starting or enabling any service.
 *
 * A maintainer script can start a service in three ways, and each is closed for the length of the call: invoke-rc.d asks
 * policy-rc.d (101: not allowed), pg_createcluster is asked of createcluster.d, and a unit or init script that was
 * enabled is disabled again.
 */

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Interrupted, runStep } from './node24.mjs';

/** By package: a file, one of which is there where the package (or another that does its work) is installed. */
const FILES = {
  postgresql: postgresFolders().map((folder) => join(folder, 'postgres')),
  e2fsprogs: inPath('mkfs.ext4'),
  xfsprogs: inPath('mkfs.xfs'),
  mount: inPath('mount'),
  fio: inPath('fio'),
  'qemu-utils': inPath('qemu-nbd'),
  'libnbd-bin': inPath('nbdinfo'),
  nbdkit: inPath('nbdkit'),
  'ceph-mon': inPath('ceph-mon'),
  'ceph-mgr': inPath('ceph-mgr'),
  'ceph-osd': inPath('ceph-osd'),
  'ceph-common': inPath('rbd'),
  strace: inPath('strace'),
  zsh: inPath('zsh'),
  fish: inPath('fish'),
  'docker.io': inPath('dockerd'),
  podman: inPath('podman'),
  prometheus: inPath('promtool'),
  'etcd-server': inPath('etcd'),
  nftables: inPath('nft'),
  libfaketime: faketimeLibraries(),
};

/** What `npm start` needs. */
export const TOUR_PACKAGES = ['postgresql', 'e2fsprogs', 'mount'];
/** What `npm test` needs. */
export const TEST_PACKAGES = [
  ...TOUR_PACKAGES,
  'xfsprogs',
  'fio',
  'qemu-utils',
  'libnbd-bin',
  'strace',
  'zsh',
  'fish',
  'docker.io',
  'podman',
  'prometheus',
  'etcd-server',
  'nftables',
  'libfaketime',
];

const POLICY_PATH = '/usr/sbin/policy-rc.d';
const CREATE_CLUSTER_PATH = '/etc/postgresql-common/createcluster.d/holdfast.conf';
/** What was enabled is a link in one of these: systemd's wants, and the start links of init scripts. */
const ENABLED_FOLDERS = [
  '/etc/systemd/system',
  ...'0123456S'.split('').map((level) => `/etc/rc${level}.d`),
];

/** The folders that Debian's PostgreSQL packages put their programs in, newest version first. */
export function postgresFolders() {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin'));
}

/** Where Debian has libfaketime: in a folder of the architecture's, of which there is one. */
export function faketimeLibraries() {
  const root = '/usr/lib';
  if (!existsSync(root)) return [];
  return readdirSync(root).map((folder) => join(root, folder, 'faketime', 'libfaketime.so.1'));
}

function inPath(program) {
  return ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'].map(
    (folder) => join(folder, program),
  );
}

/** Those of `packages` whose programs are not here. */
export function missing(packages) {
  return packages.filter((name) => !FILES[name].some((path) => existsSync(path)));
}

/** Why packages cannot be installed here, or undefined. */
export function installProblem() {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get')) return 'there is no apt-get';
  if (process.getuid() !== 0) return 'only root may install packages';
  return undefined;
}

/** Installs those of `packages` whose programs are not here, or says why it cannot: whoever needs them then fails by name. */
export async function installMissing(packages) {
  const absent = missing(packages);
  if (absent.length === 0) return;
  const problem = installProblem();
  if (problem === undefined) await install(absent);
  else process.stdout.write(`Not installed, ${problem}: ${absent.join(' ')}\n`);
}

/** The same for packages without which less is done, but something: a failure is told, and is none. */
export async function installOptional(packages) {
  try {
    await installMissing(packages);
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    process.stdout.write(`Not installed, ${error.message}: ${missing(packages).join(' ')}\n`);
  }
}

/** Installs `packages`; throws when it fails. */
export async function install(packages) {
  process.stdout.write(
    `Installing Debian packages: ${packages.join(' ')} (no service is started)\n`,
  );
  const enabledBefore = new Set(enabledLinks());
  const undo = [];
  try {
    undo.push(denyServiceStarts());
    if (packages.includes('postgresql')) undo.push(denyClusterCreation());
    // Package lists may be absent or too old to still name files that exist: then once more, with fresh ones.
    if ((await aptGet(['install', ...packages])) !== 0) {
      if ((await aptGet(['update'])) !== 0) throw new Error('apt-get update failed');
      if ((await aptGet(['install', ...packages])) !== 0) throw new Error('apt-get install failed');
    }
  } finally {
    undo.push(() => {
      for (const path of enabledLinks()) if (!enabledBefore.has(path)) disable(path);
    });
    undoAll(undo);
  }
}

/** Does every step, also after one that failed; throws the first failure. */
function undoAll(steps) {
  const failures = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

async function aptGet([command, ...args]) {
  const options = command === 'install' ? ['-y', '--no-install-recommends'] : [];
  // Waits for another apt at most this long, instead of failing at once.
  const all = ['-qq', '-o', 'DPkg::Lock::Timeout=60', '-o', 'Dpkg::Use-Pty=0', command, ...options];
  return await runStep('apt-get', [...all, ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', UCF_FORCE_CONFFOLD: '1' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Tells our policy file from the user's own, also after a call that was killed. */
const POLICY_MARK = '# Made by Holdfast while it installs packages; safe to delete';

/** Returns what puts the former policy back. */
function denyServiceStarts() {
  const kept = `${POLICY_PATH}.before-holdfast`;
  const isOurs = existsSync(POLICY_PATH) && readFileSync(POLICY_PATH, 'utf8').includes(POLICY_MARK);
  if (existsSync(POLICY_PATH) && !isOurs) renameSync(POLICY_PATH, kept);
  writeFileSync(POLICY_PATH, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`, { mode: 0o755 });
  return () => {
    rmSync(POLICY_PATH, { force: true });
    if (existsSync(kept)) renameSync(kept, POLICY_PATH);
  };
}

/** A file of our own that postgresql-common reads after its createcluster.conf. Returns what removes it. */
function denyClusterCreation() {
  mkdirSync(dirname(CREATE_CLUSTER_PATH), { recursive: true });
  writeFileSync(CREATE_CLUSTER_PATH, 'create_main_cluster = false\n');
  return () => rmSync(CREATE_CLUSTER_PATH, { force: true });
}

function enabledLinks() {
  return ENABLED_FOLDERS.flatMap((folder) => linksBelow(folder)).filter(
    (path) => /\.(wants|requires)\//.test(path) || /\/rc.\.d\/S/.test(path),
  );
}

function linksBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stats = lstatSync(path);
    if (stats.isDirectory()) return linksBelow(path);
    return stats.isSymbolicLink() ? [path] : [];
  });
}

/** A start link of an init script becomes a stop link, as `update-rc.d NAME disable` does; a unit's link goes. */
function disable(path) {
  const start = /^(.*\/)S(\d\d.*)$/.exec(path);
  if (start === null) unlinkSync(path);
  else renameSync(path, `${start[1]}K${start[2]}`);
}

/** Megabytes that the packages need: download and disk, as apt-get says, or a measured figure where it does not know. */
export function sizes(packages) {
  const simulated = spawnSync(
    'apt-get',
    ['install', '--assume-no', '--no-install-recommends', ...packages],
    { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } },
  );
  const megabytes = (pattern) => {
    const [, figure, unit] = pattern.exec(simulated.stdout ?? '') ?? [];
    if (figure === undefined) return undefined;
    return Math.ceil(Number(figure.replaceAll(',', '')) / { kB: 1000, MB: 1, GB: 0.001 }[unit]);
  };
  return {
    download: megabytes(/Need to get ([\d.,]+) (kB|MB|GB)/) ?? 70,
    disk: megabytes(/After this operation, ([\d.,]+) (kB|MB|GB)/) ?? 260,
  };
}
