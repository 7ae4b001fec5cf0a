/** Deletes an installation with everything that it made, and nothing else. */

import fs from 'node:fs';
import path from 'node:path';

import { readMounts } from '../../attacher/mount-table.ts';
import { INSTALLATION_NAMES, type Installation } from '../../control/installation.ts';
import { deleteDriveFile, foreignWhy } from '../../control/drive-file.ts';
import { type HeldLock, lockInstallation } from '../../control/installation-lock.ts';
import { etcdSettingsOf } from '../../control/open-store.ts';
import { eraseEtcd } from '../../control/store-move.ts';
import { storeInWords } from '../../control/store-settings.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { Refusal } from '../../model/errors.ts';
import type { DriveRecord } from '../../model/records.ts';
import { confirm } from '../confirm.ts';
import type { Context } from '../context.ts';
import { down } from './down.ts';
import { findInstallation } from './find-installation.ts';
import { removeServices } from './install.ts';
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
  const { installation } = context;
  const { directory } = installation;
  const isThere = findInstallation(installation);
  const outside = isThere ? await drivesOutside(directory) : { made: [], foreign: [] };
  const also = outside.made.map((drive) => `, and "${drive.path}"`).join('');
  await confirm(
    options.sure,
    `Delete "${directory}" with all drives and volumes in it${also}? Nothing of it can be brought back.`,
  );
  const left = [...outside.foreign];
  if (isThere) {
    const served = isServed(installation);
    await down(context);
    const records = await eraseRecords(installation.directory);
    left.push(...deleteAll(installation, outside.made), ...records);
    if (served) await removeServices(installation);
  }
  const told = left.map(({ path: at, why }) => `\n"${at}" is left as it is: ${why}`);
  context.output.result(
    { uninstalled: true, left: left.map((drive) => drive.path) },
    `Nothing is left of Holdfast in "${directory}"${told.join('')}`,
  );
}

async function drivesOutside(directory: string): Promise<DrivesOutside> {
  const drives = await drivesOnRecord(directory);
  const own = `${path.join(directory, 'drives')}${path.sep}`;
  const outside = drives.filter((drive) => !drive.path.startsWith(own));
  const there = outside.filter((drive) => fs.existsSync(drive.path));
  const judged = there.map((drive) => ({ drive, why: foreignWhy(directory, drive) }));
  return {
    made: judged.flatMap(({ drive, why }) => (why === undefined ? [drive] : [])),
    foreign: judged.flatMap(({ drive, why }) => (why === undefined ? [] : [{ ...drive, why }])),
  };
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

/** Deletes the records in etcd. Returns those that had to be left. */
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
  fs.rmSync(runDirectory, { recursive: true, force: true });
  for (const name of INSTALLATION_NAMES) {
    fs.rmSync(path.join(directory, name), { recursive: true, force: true });
  }
  if (fs.readdirSync(directory).length === 0) removeEmpty(directory);
  return left;
}

/** A mount point stays: it is the administrator's. */
function removeEmpty(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
}

/** Deleting below a mount would delete what is on it. */
function refuseMounted(directory: string): void {
  const real = fs.realpathSync(directory);
  const mount = readMounts().find((each) => each.path.startsWith(`${real}/`));
  if (mount === undefined) return;
  const users = `"${mount.source}" is mounted there, and Holdfast knows nothing of it`;
  throw new Refusal('MOUNT_BUSY', { path: mount.path, users });
}
