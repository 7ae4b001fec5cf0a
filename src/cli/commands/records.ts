/** The records of an installation, read from its store: also while control does not run. */

import type { Installation } from '../../control/installation.ts';
import { refuseCopied, refuseLost } from '../../control/lost-records.ts';
import { findEtcd, isMemberPlace } from '../../control/own-etcd.ts';
import { etcdSettingsOf, readStore, sqliteFileOf } from '../../control/open-store.ts';
import { RecordsStore } from '../../control/records-store.ts';
import { storeFileOf } from '../../control/store-settings.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { Refusal } from '../../model/errors.ts';
import type { DriveRecord } from '../../model/records.ts';

/** The drives on record, of a node of a cluster its own; none where there are no records yet. Throws an Error where they cannot be read. */
export async function readDrives(directory: string): Promise<readonly DriveRecord[]> {
  const records = await openRecords(directory);
  return records === undefined ? [] : await records.store.drives().finally(records.close);
}

/** All records, to be closed; undefined where there are none yet. Throws an Error where they cannot be read. */
export async function openRecords(
  directory: string,
): Promise<{ readonly store: RecordsStore; readonly close: () => Promise<void> } | undefined> {
  const store = await readStore(directory);
  if (store === undefined) return undefined;
  const node = readNode(directory)?.node;
  return { store: new RecordsStore(store, directory, node), close: () => store.close() };
}

/** Throws INSTALLATION_START where the records are damaged, or what the store says: control could only fail again and again. */
export async function refuseDamaged({ directory }: Installation): Promise<void> {
  refuseLost(directory);
  refuseCopied(directory);
  // An etcd of its own is started with the rest.
  if (isMemberPlace(directory)) {
    findEtcd();
    return;
  }
  try {
    await readDrives(directory);
  } catch (error) {
    if (etcdSettingsOf(directory) !== undefined) throw error;
    throw new Refusal('INSTALLATION_START', {
      problem: `"${recordsOf(directory)}" cannot be read (${whyOf(error)}). Drives and volumes are untouched: put a copy of that file back, or move it away to begin without them`,
    });
  }
}

/** The file of the records, or of what tells where they are. */
export function recordsOf(directory: string): string {
  return etcdSettingsOf(directory) === undefined ? sqliteFileOf(directory) : storeFileOf(directory);
}

/** What an error of the records says. */
export function whyOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
