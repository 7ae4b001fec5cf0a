/**
 * A drive in the place of another of the same node: it is added, the replicas leave the old one, and that is removed. How far it is stands
 * in the records: the new drive names the old one from the beginning, so that whatever is cut short goes on.
 */

import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../model/errors.ts';
import type { DriveRecord, OperationRecord } from '../model/records.ts';
import { keptDrive } from './drive-holdings.ts';
import { refuseUndrained } from './drive-service.ts';
import { settleRemoval } from './drive-settling.ts';
import type { DriveWish } from './drives.ts';
import type { ControlParts } from './parts.ts';
import type { Progress } from './progress.ts';
import type { Kept, RecordsStore } from './records-store.ts';

export type ReplacementWish = {
  /** A file or device; a file that is not there is made, as large as the old drive. */
  readonly path: string;
  /** Undefined: that of the old drive, with a number. */
  readonly name: string | undefined;
  readonly force: boolean;
};

type Replaced = NonNullable<DriveRecord['replaces']>;

export const isDraining = (error: unknown): boolean =>
  error instanceof Refusal && error.code === 'DRIVE_DRAINING';

/**
 * The drive to add in the place of drive `name`; asked for again, it is the same. Throws DRIVE_NOT_FOUND, DRIVE_ELSEWHERE,
 * DRIVE_NOT_DRAINED, and DRIVE_NOT_READY where the old drive is about to become another already.
 */
export async function replacementOf(
  parts: ControlParts,
  name: string,
  wish: ReplacementWish,
): Promise<DriveWish & { readonly replaces: Replaced }> {
  const { records, node, engine } = parts;
  const at = path.resolve(wish.path);
  const own = await records.drives();
  const present = own.find(({ replaces }) => replaces?.name === name);
  if (present?.replaces !== undefined && present.path === at && isNamed(present, wish)) {
    const { force, sparse, replaces } = present;
    return { name: present.name, path: at, sizeBytes: undefined, sparse, force, replaces };
  }
  const { record: old } = await keptDrive(records, name);
  if (old.node !== node)
    throw new Refusal('DRIVE_ELSEWHERE', { drive: name, node: old.node ?? '' });
  const state = stateOf(old, present);
  if (state !== undefined) throw new Refusal('DRIVE_NOT_READY', { drive: name, state });
  await refuseUndrained(parts, name);
  const replicas = await countOn(records, name);
  const { drives } = await engine.call('drive.list', {});
  return {
    name: wish.name ?? nextName(name, await records.everyDrive()),
    path: at,
    sizeBytes: fs.existsSync(at) ? undefined : sizeOf(old, drives),
    sparse: old.sparse,
    force: wish.force,
    replaces: { name, id: old.id, replicas },
  };
}

const isNamed = (drive: DriveRecord, { name }: ReplacementWish): boolean =>
  name === undefined || name === drive.name;

/** Why it cannot be replaced now. */
function stateOf(old: DriveRecord, by: DriveRecord | undefined): string | undefined {
  if (old.state !== 'ready') return old.state;
  return by?.replaces?.id === old.id ? `being replaced by drive "${by.name}"` : undefined;
}

function sizeOf({ id, sizeBytes }: DriveRecord, statuses: unknown): number | undefined {
  const all = statuses as readonly { readonly driveId: string; readonly sizeBytes?: number }[];
  return all.find(({ driveId }) => driveId === id)?.sizeBytes ?? sizeBytes;
}

/** `fast`, `fast-2`, `fast-3`. */
function nextName(name: string, drives: readonly DriveRecord[]): string {
  const [, stem = name, number = '1'] = /^(.+)-(\d{1,6})$/.exec(name) ?? [];
  for (let next = Number(number) + 1; ; next++) {
    const candidate = `${stem}-${next}`;
    if (drives.every((drive) => drive.name !== candidate)) return candidate;
  }
}

/**
 * Removes the drive in whose place `name` is, once that has no replicas; may be called again after a crash at any point. Throws
 * DRIVE_DRAINING before, and STORE_CONFLICT.
 */
export async function settleReplacement(parts: ControlParts, name: string): Promise<void> {
  const { records } = parts;
  const kept = await records.drive(name);
  const replaces = kept?.record.state === 'ready' ? kept.record.replaces : undefined;
  if (kept === undefined || replaces === undefined) return;
  const old = await records.drive(replaces.name);
  if (old?.record.id !== replaces.id) return;
  if (old.record.state === 'removing') return settleRemoval(parts, old);
  // It was taken into service again.
  if (old.record.service !== 'draining') return giveUp(records, kept);
  const replicas = await countOn(records, replaces.name);
  if (replicas > 0)
    throw new Refusal('DRIVE_DRAINING', { drive: replaces.name, by: name, replicas });
  // In the version that was read before its replicas were counted: one that is placed there since conflicts.
  const removing = await records.putDrive({ ...old.record, state: 'removing' }, old.version);
  parts.onStep('drive.replace: removing the old one');
  await settleRemoval(parts, removing);
}

async function giveUp(
  records: RecordsStore,
  { record, version }: Kept<DriveRecord>,
): Promise<void> {
  await records.putDrive({ ...record, replaces: undefined }, version);
}

const countOn = async (records: RecordsStore, drive: string): Promise<number> =>
  (await records.replicasNow()).filter((replica) => replica.drive === drive).length;

/** How far a replacement is, whichever node carries it out; undefined: its replicas do not leave yet, or have left. */
export async function replacementProgress(
  records: RecordsStore,
  { kind, target, state }: OperationRecord,
): Promise<Progress | undefined> {
  if (kind !== 'drive.replace' || state !== 'running') return undefined;
  const drive = (await records.drive(target.slice('drive/'.length)))?.record;
  if (drive?.state !== 'ready' || drive.replaces === undefined) return undefined;
  const { name, replicas } = drive.replaces;
  const left = await countOn(records, name);
  const amount = { done: Math.max(0, replicas - left), total: replicas, unit: 'replicas' } as const;
  return { phase: `moving replicas off drive "${name}"`, amount };
}
