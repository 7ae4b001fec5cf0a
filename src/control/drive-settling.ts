/** Drives a drive that is being added or removed to its end; each may be called again after a crash at any point. Both throw STORE_CONFLICT. */

import type { DriveRecord } from '../model/records.ts';
import { deleteDriveFile } from './drive-file.ts';
import { FORMAT_SILENCE_MS, FORMAT_WAIT_MS } from './drive-growth.ts';
import { writeEngineList } from './engine-list.ts';
import { isPassing } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import type { Kept, RecordsStore } from './records-store.ts';

/** Has engine.json name this node's drives that are ready. */
export async function listDrives({ records, installation }: ControlParts): Promise<void> {
  const drives = (await records.drives()).filter(({ state }) => state === 'ready');
  writeEngineList(installation.directory, drives);
}

/** Formats and opens it. */
export async function settleAddition(parts: ControlParts, kept: Kept<DriveRecord>): Promise<void> {
  const { engine, records, onStep, progress } = parts;
  const { record, version } = kept;
  const target = `drive/${record.name}`;
  try {
    progress.show(target, 'formatting it');
    await engine.call(
      'drive.format',
      {
        driveId: record.id,
        path: record.path,
        ...(record.sizeBytes === undefined ? {} : { sizeBytes: record.sizeBytes }),
        sparse: record.sparse,
        force: record.force,
      },
      {
        waitMs: FORMAT_WAIT_MS,
        silenceMs: FORMAT_SILENCE_MS,
        onProgress: ({ doneBytes: done, totalBytes: total }) =>
          progress.show(target, 'formatting it', { done, total, unit: 'bytes' }),
      },
    );
    onStep('drive.add: formatted');
    progress.show(target, 'opening it');
    await engine.call('drive.open', { driveId: record.id, path: record.path });
  } catch (error) {
    if (!isPassing(error)) await undoAddition(parts, kept);
    throw error;
  }
  onStep('drive.add: opened');
  const drained = await drainReplaced(records, record);
  await records.change({
    conditions: [{ key: target, version }, ...drained.conditions],
    puts: [{ key: target, record: { ...record, state: 'ready' } }, ...drained.puts],
  });
  await listDrives(parts);
}

/** What makes the drive drain in whose place another is ready. */
async function drainReplaced(
  records: RecordsStore,
  { replaces }: DriveRecord,
): Promise<{
  readonly conditions: readonly { readonly key: string; readonly version: number }[];
  readonly puts: readonly { readonly key: string; readonly record: object }[];
}> {
  const old = replaces && (await records.drive(replaces.name));
  if (old?.record.id !== replaces?.id || old?.record.state !== 'ready')
    return { conditions: [], puts: [] };
  const key = `drive/${old.record.name}`;
  return {
    conditions: [{ key, version: old.version }],
    puts: [{ key, record: { ...old.record, service: 'draining' } }],
  };
}

/** Nothing of a drive that could not be added is left: no file that Holdfast made, nothing open. */
async function undoAddition(
  { engine, records, installation, onStep }: ControlParts,
  { record, version }: Kept<DriveRecord>,
): Promise<void> {
  const key = `drive/${record.name}`;
  await engine.call('drive.close', { driveId: record.id });
  onStep('drive.add: closed again');
  if (record.made) deleteDriveFile(installation.directory, record);
  await records.change({ conditions: [{ key, version }], deletes: [key] });
}

/** Closes it, and deletes a file that Holdfast made. */
export async function settleRemoval(
  parts: ControlParts,
  { record, version }: Kept<DriveRecord>,
): Promise<void> {
  const { engine, records, onStep, progress } = parts;
  const key = `drive/${record.name}`;
  await listDrives(parts);
  try {
    progress.show(key, 'closing it');
    await engine.call('drive.close', { driveId: record.id });
  } catch (error) {
    if (!isPassing(error)) {
      await records.putDrive({ ...record, state: 'ready' }, version);
      await listDrives(parts);
    }
    throw error;
  }
  onStep('drive.remove: closed');
  if (record.made) await deleteFile(parts, record);
  onStep('drive.remove: deleted');
  await records.change({ conditions: [{ key, version }], deletes: [key] });
}

async function deleteFile(parts: ControlParts, record: DriveRecord): Promise<void> {
  const why = deleteDriveFile(parts.installation.directory, record);
  if (why === undefined) return;
  await tell(parts, 'drive.file_left', {
    subject: `drive/${record.name}`,
    what: `The file "${record.path}" of drive "${record.name}" is left as it is`,
    cause: why,
  });
}
