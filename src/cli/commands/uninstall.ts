/** Deletes an installation with everything that it made, and nothing else. */

import fs from 'node:fs';
import path from 'node:path';

import { mountsBelow } from '../../attacher/mount-table.ts';
import { INSTALLATION_NAMES, type Installation } from '../../control/installation.ts';
import { deleteDriveFile, foreignWhy } from '../../control/drive-file.ts';
import { type HeldLock, lockInstallation } from '../../control/installation-lock.ts';
import { hasMember } from '../../control/own-etcd.ts';
import { etcdSettingsOf, readStore } from '../../control/open-store.ts';
import {
  CLUSTER_NAMES,
  type LocalCluster,
  leaveLocalCluster,
} from '../../control/local-cluster.ts';
import { eraseEtcd } from '../../control/store-move.ts';
import { storeInWords } from '../../control/store-settings.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { Refusal } from '../../model/errors.ts';
import type { DriveRecord } from '../../model/records.ts';
import { confirm } from '../confirm.ts';
import { type Context, nodesOf } from '../context.ts';
import { down } from './down.ts';
import { findInstallation } from './find-installation.ts';
import { removeServices } from './install.ts';
import { downNodes } from './nodes.ts';
import { readDrives, recordsOf, whyOf } from './records.ts';
import { isServed } from './services.ts';

/** Drives that are not in DIR/drives. */
type DrivesOutside = {
  /** Files that Holdfast made there: they go. */
  readonly made: readonly DriveRecord[];
  /** Files and devices of others, and why they are: they stay, with what is on them. */
  readonly foreign: readonly DriveLeft[];
};

type DriveLeft = { readonly path: string; readonly why: string };

/** Asks unless `sure`, ends what runs, and deletes. Where there is nothing, there is nothing to do. */
export async function uninstall(
  context: Context,
  options: { readonly sure: boolean },
): Promise<void> {
  const { cluster, installation, output } = context;
  const { directory } = cluster ?? installation;
  const installations =
    cluster === undefined ? [installation].filter(findInstallation) : nodesThere(cluster);
  const outside: DrivesOutside[] = [];
  for (const each of installations) {
    if (cluster === undefined) await refuseCounted(each.directory);
    outside.push(await drivesOutside(each.directory));
  }
  const also = outside.flatMap(({ made }) => made.map((drive) => `, and "${drive.path}"`)).join('');
  await confirm(
    options.sure,
    `Delete "${directory}" with all drives and volumes in it${also}? Nothing of it can be brought back.`,
  );
  const left = outside.flatMap(({ foreign }) => foreign);
  if (cluster !== undefined) await downNodes(context, cluster);
  for (const [index, each] of installations.entries()) {
    const served = isServed(each);
    if (cluster === undefined) await down(context);
    const records = await eraseRecords(each.directory);
    if (cluster === undefined) leaveLocalCluster(directory);
    left.push(...deleteAll(each, outside[index]?.made ?? []), ...records);
    if (served) await removeServices(each);
  }
  if (cluster !== undefined) deleteCluster(cluster);
  const told = left.map(({ path: at, why }) => `\n"${at}" is left as it is: ${why}`);
  output.result(
    { uninstalled: true, left: left.map((drive) => drive.path) },
    `Nothing is left of Holdfast in "${directory}"${told.join('')}`,
  );
}

/** An earlier uninstallation may have been interrupted. */
const nodesThere = (cluster: LocalCluster): readonly Installation[] =>
  nodesOf(cluster).filter(({ directory }) => fs.existsSync(directory));

/**
 * Throws NODE_COUNTED where the installation is a node that its cluster has on record: volumes may have replicas on it. The last node of a
 * cluster with an etcd of its own is all that there is, and goes.
 */
async function refuseCounted(directory: string): Promise<void> {
  const node = readNode(directory);
  if (node === undefined) return;
  const store = await readStore(directory);
  if (store === undefined) return;
  const { entries } = await store.list('node/').finally(() => store.close());
  if (entries.length === 1 && hasMember(directory)) return;
  const isCounted = entries.some(({ key }) => key === `node/${node.node}`);
  if (isCounted) throw new Refusal('NODE_COUNTED', { node: node.node });
}

async function drivesOutside(directory: string): Promise<DrivesOutside> {
  const drives = await drivesOnRecord(directory);
  const there = drives.filter((drive) => fs.existsSync(drive.path));
  const outside = there.filter((drive) => !isInside(directory, drive.path));
  const judged = outside.map((drive) => ({ drive, why: foreignWhy(directory, drive) }));
  return {
    made: judged.flatMap(({ drive, why }) => (why === undefined ? [drive] : [])),
    foreign: judged.flatMap(({ drive, why }) => (why === undefined ? [] : [{ ...drive, why }])),
  };
}

/** Whether a file goes with the directory. DIR/drives may be a link, to a disk with more room. */
function isInside(directory: string, file: string): boolean {
  const own = path.join(fs.realpathSync(directory), 'drives');
  return `${fs.realpathSync(path.dirname(file))}${path.sep}`.startsWith(`${own}${path.sep}`);
}

/** The drives on record. Only they say which files outside are Holdfast's own: damaged, they end an uninstallation before it begins. */
async function drivesOnRecord(directory: string): Promise<readonly DriveRecord[]> {
  try {
    return await readDrives(directory);
  } catch (error) {
    const problem = `it cannot be read (${whyOf(error)}), and only it says which drives outside are Holdfast's own; end what runs with "holdfast down", then delete "${directory}" by hand`;
    throw new Refusal('INSTALLATION_FOREIGN', { path: recordsOf(directory), problem });
  }
}

/** Takes back an installation that a start has made and that was then refused what it asked for. Leaves one that somebody else starts. */
export async function takeBack(installation: Installation): Promise<void> {
  let lock: HeldLock;
  try {
    lock = lockInstallation(installation);
  } catch {
    return;
  }
  try {
    await eraseRecords(installation.directory);
    deleteAll(installation, []);
  } finally {
    lock.release();
  }
}

/** Deletes the records in etcd, unless they are a cluster's. Returns those that had to be left. */
async function eraseRecords(directory: string): Promise<DriveLeft[]> {
  const settings = etcdSettingsOf(directory);
  // Of a cluster they are the other nodes' too.
  if (settings === undefined || readNode(directory) !== undefined) return [];
  try {
    await eraseEtcd(directory, settings);
    return [];
  } catch (error) {
    return [{ path: storeInWords(settings), why: whyOf(error) }];
  }
}

/** The drives outside go first: once the records are gone, nobody knows of them. Returns those that had to be left. */
function deleteAll(installation: Installation, outside: readonly DriveRecord[]): DriveLeft[] {
  const { directory, runDirectory } = installation;
  refuseMounted(directory);
  const left = outside.flatMap((drive) => {
    const why = deleteDriveFile(directory, drive);
    return why === undefined ? [] : [{ path: drive.path, why }];
  });
  deleteTree(runDirectory);
  for (const name of INSTALLATION_NAMES) deleteTree(path.join(directory, name));
  if (fs.readdirSync(directory).length === 0) removeEmpty(directory);
  return left;
}

function deleteTree(at: string): void {
  try {
    fs.rmSync(at, { recursive: true, force: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
    const problem = 'something in it belongs to another user, as root; uninstall as that user';
    throw new Refusal('PATH_INVALID', { path: at, problem });
  }
}

/** What a cluster on this machine has besides its nodes, which are gone. */
function deleteCluster({ directory }: LocalCluster): void {
  fs.rmdirSync(path.join(directory, 'nodes'));
  for (const name of CLUSTER_NAMES) {
    fs.rmSync(path.join(directory, name), { recursive: true, force: true });
  }
  if (fs.readdirSync(directory).length === 0) removeEmpty(directory);
}

/** Takes back a cluster that a start has made and of which a node was refused. */
export async function takeBackCluster(context: Context, cluster: LocalCluster): Promise<void> {
  await downNodes(context, cluster);
  for (const installation of nodesThere(cluster)) deleteAll(installation, []);
  deleteCluster(cluster);
}

/** A mount point stays, and so does a link to a directory: they are the administrator's. */
function removeEmpty(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    if (!['EBUSY', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Deleting below a mount would delete what is on it. */
function refuseMounted(directory: string): void {
  const real = fs.realpathSync(directory);
  const [mount] = mountsBelow(real);
  if (mount === undefined) return;
  const users = `"${mount.source}" is mounted there, and Holdfast knows nothing of it`;
  throw new Refusal('MOUNT_BUSY', { path: mount.path, users });
}
