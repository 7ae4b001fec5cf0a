/** The records of an installation, read from its file: also while control does not run. */

import fs from 'node:fs';
import path from 'node:path';

import type { Installation } from '../../control/installation.ts';
import { refuseLost } from '../../control/lost-records.ts';
import { RecordsStore } from '../../control/records-store.ts';
import { Refusal } from '../../model/errors.ts';
import type { DriveRecord } from '../../model/records.ts';

/** The drives on record; none where there are no records yet. Throws an Error where they cannot be read. */
export async function readDrives(directory: string): Promise<readonly DriveRecord[]> {
  const records = await openRecords(directory);
  return records === undefined ? [] : await records.store.drives().finally(records.close);
}

/** All records, to be closed; undefined where there are none yet. Throws an Error where they cannot be read. */
export async function openRecords(
  directory: string,
): Promise<{ readonly store: RecordsStore; readonly close: () => Promise<void> } | undefined> {
  const file = recordsOf(directory);
  if (!fs.existsSync(file)) return undefined;
  const { SqliteStore } = await import('../../metadata/sqlite-store.ts');
  const store = new SqliteStore({ path: file, wallMs: () => Date.now(), randomId: () => '' });
  return { store: new RecordsStore(store, directory), close: () => store.close() };
}

/** Throws INSTALLATION_START where the records are damaged: control could only fail again and again. */
export async function refuseDamaged({ directory }: Installation): Promise<void> {
  refuseLost(directory);
  try {
    await readDrives(directory);
  } catch (error) {
    throw new Refusal('INSTALLATION_START', {
      problem: `"${recordsOf(directory)}" cannot be read (${whyOf(error)}). Drives and volumes are untouched: put a copy of that file back, or move it away to begin without them`,
    });
  }
}

/** The file of the records. */
export function recordsOf(directory: string): string {
  return path.join(directory, 'state.db');
}

/** What an error of the records says. */
export function whyOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
