/** Takes a drive of a cluster out of service, or back. What is to be done about it src/placement decides (docs/placement.md). */

import { Refusal } from '../model/errors.ts';
import type { DriveService } from '../model/records.ts';
import { decideAgain } from './conflicts.ts';
import { aloneOn, inShort, keptDrive } from './drive-holdings.ts';
import { endedOperation } from './operations.ts';
import type { ControlParts } from './parts.ts';
import { operationPuts } from './request-keys.ts';

/**
 * Records what is wanted of a drive of any node; the same again changes nothing. Throws DRIVE_NOT_FOUND, and DRIVE_NOT_DRAINED on a single
 * machine or where volumes are to leave that nothing moves.
 */
export function changeDriveService(
  parts: ControlParts,
  name: string,
  service: DriveService,
): Promise<void> {
  return decideAgain(async () => {
    const { record, version } = await keptDrive(parts.records, name);
    if ((record.service ?? 'open') === service) return;
    if (service === 'cordoned') refuseSingle(parts, name);
    if (service === 'draining') await refuseUndrained(parts, name);
    const key = `drive/${name}`;
    const ended = endedOperation(parts, 'drive.change', key);
    await parts.records.change({
      conditions: [{ key, version }],
      puts: [{ key, record: { ...record, service } }, ...operationPuts(ended)],
    });
  });
}

/** Throws DRIVE_NOT_DRAINED where something on the drive would never leave it. */
export async function refuseUndrained(parts: ControlParts, drive: string): Promise<void> {
  refuseSingle(parts, drive);
  const alone = await aloneOn(parts.records, drive);
  if (alone.length === 0) return;
  const problem = `${inShort(alone)} lie on it alone, and nothing moves them`;
  throw new Refusal('DRIVE_NOT_DRAINED', { drive, problem });
}

function refuseSingle({ node }: ControlParts, drive: string): void {
  if (node !== undefined) return;
  const problem = 'on a single machine each volume lies on one drive, and stays there';
  throw new Refusal('DRIVE_NOT_DRAINED', { drive, problem });
}
