/** A drive's record, and what lies on it. */

import { Refusal } from '../model/errors.ts';
import type { DriveRecord } from '../model/records.ts';
import { similar } from './names.ts';
import type { Kept, RecordsStore } from './records-store.ts';

/** As many as a refusal names. */
const NAMED_MAX = 5;

/** The drive of this name, of whichever node. Throws DRIVE_NOT_FOUND, with a name that is like it. */
export async function keptDrive(records: RecordsStore, name: string): Promise<Kept<DriveRecord>> {
  const kept = await records.drive(name);
  if (kept !== undefined) return kept;
  const names = (await records.everyDrive()).map((drive) => drive.name);
  throw new Refusal('DRIVE_NOT_FOUND', { drive: name, hint: similar(name, names) });
}

/** The volumes that lie on a drive alone, those in the trash too, for people: nothing moves them. */
export async function aloneOn(records: RecordsStore, name: string): Promise<string[]> {
  const [volumes, trash] = await Promise.all([records.volumes(), records.trash()]);
  return [
    ...volumes.filter(({ drive }) => drive === name).map((volume) => `"${volume.name}"`),
    ...trash
      .filter(({ volume }) => volume.drive === name)
      .map(({ volume }) => `"${volume.name}" (in the trash)`),
  ];
}

/** Names, the first of them where they are many. */
export function inShort(names: readonly string[]): string {
  const rest = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
  return names.slice(0, NAMED_MAX).join(', ') + rest;
}
