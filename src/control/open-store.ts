/**
 * Opens the cluster store of an installation: SQLite in DIR/state.db, or what DIR/store.json names: etcd, or a SQLite file that nodes of one
 * machine share. Only the one that is opened is loaded: commands that open none start without them.
 */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { openBootClock } from '../env/node/boot-clock.ts';
import { readBootId } from '../env/node/boot-id.ts';
import { readNode } from '../env/node/node-identity.ts';
import { RESTORING_KEY } from '../metadata/backup.ts';
import type { ClusterStore } from '../metadata/cluster-store.ts';
import type { EtcdStore, EtcdStoreOptions } from '../metadata/etcd-store.ts';
import type { SqliteStore } from '../metadata/sqlite-store.ts';
import { Refusal } from '../model/errors.ts';
import { readMembers } from './store-members.ts';
import { openSeen, readSeen } from './store-seen.ts';
import {
  type StoreSettings,
  accessOf,
  readStoreSettings,
  sharedFileOf,
  storeFileOf,
} from './store-settings.ts';

/** DIR/state.db, or the file that is shared. Throws STORE_SETTINGS. */
export const sqliteFileOf = (directory: string): string =>
  sharedFileOf(directory) ?? path.join(directory, 'state.db');

/** The settings of an installation whose records are in etcd. Throws STORE_SETTINGS. */
export function etcdSettingsOf(directory: string): StoreSettings | undefined {
  const file = storeFileOf(directory);
  const isInEtcd = fs.existsSync(file) && sharedFileOf(directory) === undefined;
  if (!isInEtcd) return undefined;
  const settings = readStoreSettings(file);
  const endpoints = settings.followsMembers === true ? readMembers(directory) : [];
  return endpoints.length === 0 ? settings : { ...settings, endpoints };
}

/**
 * To write: one process at a time; with etcd it takes over from an earlier one. Throws what {@link EtcdStore.open} throws, and
 * INSTALLATION_START where a restore of the records has begun and not ended.
 */
export async function openStore(directory: string): Promise<SqliteStore | EtcdStore> {
  const settings = etcdSettingsOf(directory);
  const store =
    settings === undefined
      ? await openSqlite(directory)
      : await openEtcd(directory, settings, { rememberedRevision: readSeen(directory) });
  if ((await store.get(RESTORING_KEY)) === undefined) return store;
  await store.close();
  throw new Refusal('INSTALLATION_START', {
    problem:
      'a restore of its records was interrupted. Do it again: holdfast store restore FILE (or holdfast store migrate)',
  });
}

/** To read, also while control runs. With SQLite, undefined where there are no records yet. Throws what {@link openStore} does. */
export async function readStore(directory: string): Promise<ClusterStore | undefined> {
  const settings = etcdSettingsOf(directory);
  if (settings === undefined) {
    return fs.existsSync(sqliteFileOf(directory)) ? await openSqlite(directory) : undefined;
  }
  const rememberedRevision = readSeen(directory);
  const { EtcdStore } = await import('../metadata/etcd-store.ts');
  return await EtcdStore.reader({ ...etcdOptions(directory, settings), rememberedRevision });
}

/** The store in SQLite; its file is made where it is missing. */
export async function openSqlite(directory: string): Promise<SqliteStore> {
  const { SqliteStore } = await import('../metadata/sqlite-store.ts');
  const file = sqliteFileOf(directory);
  // SQLite would make it readable for all, and makes its log as readable as it. One that is there may be open in this process already, and
  // to close it would end the locks of that.
  if (!fs.existsSync(file)) fs.closeSync(fs.openSync(file, 'a', 0o600));
  let clock: (() => number) | undefined;
  return new SqliteStore({
    path: file,
    // Only leases need it.
    bootMs: () => (clock ??= openBootClock())(),
    bootId: readBootId(),
    randomId: () => randomUUID(),
  });
}

/** The store in etcd, to write. `rememberedRevision` 0 believes whatever etcd has: for who replaces all of it. */
export async function openEtcd(
  directory: string,
  settings: StoreSettings,
  { rememberedRevision }: { readonly rememberedRevision: number },
): Promise<EtcdStore> {
  const { EtcdStore } = await import('../metadata/etcd-store.ts');
  const seen = openSeen(directory);
  return await EtcdStore.open({
    ...etcdOptions(directory, settings),
    rememberedRevision,
    remember: seen.write,
    onClose: seen.close,
  });
}

function etcdOptions(directory: string, settings: StoreSettings): EtcdStoreOptions {
  const node = readNode(directory);
  return {
    access: accessOf(settings, storeFileOf(directory)),
    prefix: settings.prefix,
    writer: node === undefined ? 'control' : `control-${node.node}`,
    owner: node?.cluster ?? settings.owner ?? '',
    rememberedRevision: 0,
    remember: () => undefined,
    randomId: () => randomUUID(),
  };
}
