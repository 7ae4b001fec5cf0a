/** Moves the records of an installation from one store to another, and puts backups back. Nothing may run: the caller has its lock. */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { type BackupEntry, backupOf, replaceEntries } from '../metadata/backup.ts';
import type { ClusterStore } from '../metadata/cluster-store.ts';
import { Refusal } from '../model/errors.ts';
import type { DriveRecord } from '../model/records.ts';
import { recordsInode } from './drive-file.ts';
import { replaceFile, syncDirectory } from './installation.ts';
import { etcdSettingsOf, openEtcd, openSqlite, openStore, sqliteFileOf } from './open-store.ts';
import { UNREPORTED_KEY } from './records-store.ts';
import {
  type StoreSettings,
  readStoreSettings,
  storeFileOf,
  storeSettingsText,
} from './store-settings.ts';

/** Has the records of a new installation in the etcd of `settings` from its first start on. */
export function chooseEtcd(directory: string, settings: StoreSettings): void {
  replaceFile(storeFileOf(directory), storeSettingsText({ ...settings, owner: randomUUID() }));
}

/** Moves all entries to the etcd of `settings`. Returns how many. A move that was interrupted is done again. */
export async function moveToEtcd(directory: string, settings: StoreSettings): Promise<number> {
  const file = storeFileOf(directory);
  const source = await openStore(directory);
  const { entries } = await backupOf(source);
  // The same owner again, where an earlier move has begun under it.
  const began = `${file}.begun`;
  const owner = ownerIn(began) ?? randomUUID();
  const kept = { ...settings, owner };
  replaceFile(began, storeSettingsText(kept));
  const inode = fs.statSync(began).ino;
  try {
    const target = await openEtcd(directory, kept, { rememberedRevision: 0 });
    await fill(target, entriesFor(entries, { from: recordsInode(directory), to: inode }));
  } finally {
    await source.close();
  }
  fs.renameSync(began, file);
  syncDirectory(directory);
  removeSqlite(directory);
  forgetList(directory);
  return entries.length;
}

/** Moves all entries back to SQLite, and deletes them in etcd. Returns how many. */
export async function moveToSqlite(directory: string): Promise<number> {
  const settings = etcdSettingsOf(directory);
  if (settings === undefined) return 0;
  const source = await openStore(directory);
  const { entries } = await backupOf(source);
  await source.close();
  removeSqlite(directory);
  const target = await openSqlite(directory);
  const to = fs.statSync(sqliteFileOf(directory)).ino;
  await fill(target, entriesFor(entries, { from: recordsInode(directory), to }));
  // The new file is there before what tells of etcd goes, and that is gone before etcd has nothing any more.
  syncDirectory(directory);
  fs.rmSync(storeFileOf(directory));
  forgetList(directory);
  syncDirectory(directory);
  await eraseEtcd(directory, settings);
  return entries.length;
}

/** Makes `entries` the records, whatever the store holds or lost. Throws INPUT_INVALID where other nodes work with it. */
export async function restoreEntries(
  directory: string,
  entries: readonly BackupEntry[],
): Promise<void> {
  const settings = etcdSettingsOf(directory);
  const store =
    settings === undefined
      ? await openSqlite(directory)
      : await openEtcd(directory, settings, { rememberedRevision: 0 });
  await refuseLiving(store);
  const nodes = entries
    .filter(({ key }) => key.startsWith('node/'))
    .map(({ key }) => key.slice('node/'.length));
  // Their replicas may know newer sets: nothing is served before they have said so.
  const unreported = nodes.length === 0 ? [] : [{ key: UNREPORTED_KEY, value: { nodes } }];
  const restored = entries.filter(({ key }) => key !== UNREPORTED_KEY && !key.startsWith('alive/'));
  await fill(store, [...restored, ...unreported]);
  forgetList(directory);
}

/** Deletes what an installation has in etcd. */
export async function eraseEtcd(directory: string, settings: StoreSettings): Promise<void> {
  const store = await openEtcd(directory, settings, { rememberedRevision: 0 });
  try {
    await store.erase();
  } finally {
    await store.close();
  }
  fs.rmSync(`${directory}/store-seen.json`, { force: true });
}

async function refuseLiving(store: ClusterStore): Promise<void> {
  const { entries } = await store.list('alive/');
  if (entries.length === 0) return;
  await store.close();
  const names = entries.map(({ key }) => key.slice('alive/'.length)).join(', ');
  const problem = `nodes of the cluster work with these records (${names}): end them first (holdfast down)`;
  throw new Refusal('INPUT_INVALID', { problem });
}

/** engine.json is of the records before; control writes it anew, and has the engine open what it lacked. */
function forgetList(directory: string): void {
  fs.rmSync(path.join(directory, 'engine.json'), { force: true });
}

async function fill(store: ClusterStore, entries: readonly BackupEntry[]): Promise<void> {
  try {
    await replaceEntries(store, entries);
  } finally {
    await store.close();
  }
}

/** Drives know the installation that made their file by the inode of its records (drive-file.ts), which is another one now. */
function entriesFor(
  entries: readonly BackupEntry[],
  { from, to }: { readonly from: number | undefined; readonly to: number },
): readonly BackupEntry[] {
  return entries.map(({ key, value }) => {
    if (!key.startsWith('drive/')) return { key, value };
    const drive = value as unknown as DriveRecord;
    if (drive.madeBy === undefined || drive.madeBy !== from) return { key, value };
    return { key, value: { ...(value as Record<string, never>), madeBy: to } };
  });
}

function ownerIn(file: string): string | undefined {
  return fs.existsSync(file) ? readStoreSettings(file).owner : undefined;
}

function removeSqlite(directory: string): void {
  for (const end of ['', '-wal', '-shm']) {
    fs.rmSync(`${sqliteFileOf(directory)}${end}`, { force: true });
  }
}
