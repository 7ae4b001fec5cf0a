/** Records, with what the engine says of them, as the API shows them. */

import path from 'node:path';

import type {
  DriveRecord,
  EventRecord,
  NodeRecord,
  OperationRecord,
  TrashRecord,
  UsageRecord,
  VolumeRecord,
} from '../model/records.ts';
import type { Settings } from '../model/settings.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { holdersOf } from './mount-holders.ts';
import type { Progress } from './progress.ts';
import type { OperationView } from './operation-schemas.ts';
import type { EventView } from './event-schemas.ts';
import type { DriveView } from './drive-schemas.ts';
import type { SettingsView, TrashedView, VolumeView } from './schemas.ts';
import { volatileWarning } from './volatile.ts';

/** A drive as the API shows it; `status` is the engine's, undefined while nobody can tell; `replicas`: how many lie on it. */
export function viewDrive(
  record: DriveRecord,
  {
    status,
    replicas,
    progress,
  }: {
    readonly status: JsonObject | undefined;
    readonly replicas: number;
    readonly progress: Progress | undefined;
  },
): DriveView {
  const ready = record.state === 'ready';
  return {
    name: record.name,
    id: record.id,
    node: record.node ?? null,
    path: record.path,
    state: ready ? String(status?.['state'] ?? 'unknown') : record.state,
    reason: textOr(status?.['reason']),
    service: record.service ?? 'open',
    replicas,
    warning: volatileWarning(record.path),
    sizeBytes: numberOr(status?.['sizeBytes']) ?? record.sizeBytes ?? null,
    usedBytes: numberOr(status?.['usedBytes']),
    freeBytes: numberOr(status?.['freeBytes']),
    progress:
      progress?.amount?.unit === 'bytes'
        ? { doneBytes: progress.amount.done, totalBytes: progress.amount.total }
        : null,
  };
}

/** Since when nobody attached or wrote a volume, in ms since 1970; undefined while it is attached. */
export function unusedSinceMs(
  record: VolumeRecord,
  usage: UsageRecord | undefined,
): number | undefined {
  if (record.attachment !== undefined) return undefined;
  return Math.max(record.createdAtMs, record.lastAttachedAtMs ?? 0, usage?.lastWrittenAtMs ?? 0);
}

/**
 * A volume as the API shows it; `status` is the engine's, undefined while the engine is away; `node`: where it is attached, since another
 * node's records have paths that begin there.
 */
export function viewVolume(
  record: VolumeRecord,
  {
    status,
    usage,
    node,
  }: {
    readonly status: JsonObject | undefined;
    readonly usage: UsageRecord | undefined;
    readonly node: NodeRecord | undefined;
  },
): VolumeView {
  const { attachment, mount } = record;
  const ready = record.state === 'ready';
  return {
    name: record.name,
    id: record.id,
    drive: record.drive,
    sizeBytes: record.sizeBytes,
    allocatedBytes: numberOr(status?.['allocatedBytes']),
    state: ready ? String(status?.['state'] ?? 'unknown') : record.state,
    reason: textOr(status?.['reason']),
    epoch: record.epoch,
    createdAt: timeOf(record.createdAtMs),
    owner: viewOwner(record),
    labels: record.labels ?? {},
    createdBy: record.createdBy ?? null,
    lastAttachedAt: timeOr(record.lastAttachedAtMs),
    lastWrittenAt: timeOr(usage?.lastWrittenAtMs),
    unusedSince: timeOr(unusedSinceMs(record, usage)),
    autoGrow: record.autoGrow ?? null,
    highWaterBytes: highWater(status, usage),
    replicas: (status?.['replicas'] ?? []) as VolumeView['replicas'],
    attachment:
      attachment === undefined
        ? null
        : {
            attachId: attachment.attachId,
            node: attachment.node ?? null,
            as: attachment.wanted,
            state: attachment.state,
            uri:
              attachment.socketPath === undefined
                ? null
                : nbdUri(attachment.attachId, attachment.socketPath),
            device: attachment.device ?? null,
            connections: numberOr(status?.['connections']),
          },
    mount:
      mount === undefined
        ? null
        : {
            path:
              node?.directory === undefined ? mount.path : path.resolve(node.directory, mount.path),
            fs: mount.fsType,
            state: mount.state,
            // Records of the first development versions lack it.
            growsAtNextMount: mount.growsAtNextMount ?? false,
            holders: [...holdersOf(mount)],
          },
  };
}

/** A removed volume as the API shows it; `status` is the engine's, undefined while the engine is away. */
export function viewTrashed(
  { volume, state, removedAtMs, purgeAtMs }: TrashRecord,
  status: JsonObject | undefined,
): TrashedView {
  return {
    id: volume.id,
    name: volume.name,
    drive: volume.drive,
    sizeBytes: volume.sizeBytes,
    allocatedBytes: numberOr(status?.['allocatedBytes']),
    state,
    owner: viewOwner(volume),
    removedAt: timeOf(removedAtMs),
    purgeAt: timeOf(purgeAtMs),
  };
}

/** The settings as the API shows them. */
export function viewSettings(settings: Settings): SettingsView {
  return { ...settings, driveAlertPercents: [...settings.driveAlertPercents] };
}

const viewOwner = ({ owner }: VolumeRecord): VolumeView['owner'] => ({
  tenant: owner?.tenant ?? null,
  group: owner?.group ?? null,
});

/** NBD URI specification: nbd+unix:///EXPORT?socket=PATH. */
export function nbdUri(exportName: string, socketPath: string): string {
  const escaped = socketPath.split('/').map(encodeURIComponent).join('/');
  return `nbd+unix:///${exportName}?socket=${escaped}`;
}

/** An operation as the API shows it; `progress` is of its target. */
export function viewOperation(
  record: OperationRecord,
  progress: Progress | undefined,
): OperationView {
  const { error } = record;
  return {
    id: record.id,
    kind: record.kind,
    target: record.target,
    state: record.state,
    startedAt: timeOf(record.startedAtMs),
    endedAt: timeOr(record.endedAtMs),
    progress: record.state === 'running' && progress !== undefined ? viewProgress(progress) : null,
    error: error === undefined ? null : { ...error, wayOut: error.wayOut ?? null },
  };
}

function viewProgress({ phase, amount }: Progress): NonNullable<OperationView['progress']> {
  const { done = null, total = null, unit = null } = amount ?? {};
  return { phase, done, total, unit };
}

/** What was seen once a minute, and what is seen now. */
function highWater(status: JsonObject | undefined, usage: UsageRecord | undefined): number | null {
  const now = numberOr(status?.['allocatedBytes']);
  if (now === null && usage === undefined) return null;
  return Math.max(now ?? 0, usage?.highWaterBytes ?? 0);
}

/** An event as the API shows it. */
export function viewEvent(record: EventRecord): EventView {
  const { id, atMs, kind, subject, node, what, cause } = record;
  return {
    id,
    at: timeOf(atMs),
    kind: kind ?? null,
    subject: subject ?? null,
    node: node ?? null,
    what,
    cause: cause ?? null,
  };
}

/** Times as they were formatted before: lists show the same ones again and again, and `toISOString` took a third of a list's time. */
const formattedTimes = new Map<number, string>();
const FORMATTED_COUNT_MAX = 100_000;

function timeOf(ms: number): string {
  const known = formattedTimes.get(ms);
  if (known !== undefined) return known;
  if (formattedTimes.size >= FORMATTED_COUNT_MAX) formattedTimes.clear();
  const text = new Date(ms).toISOString();
  formattedTimes.set(ms, text);
  return text;
}

/** A time as the API shows it; null: there is none. */
export const timeOr = (ms: number | undefined): string | null =>
  ms === undefined ? null : timeOf(ms);

function numberOr(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

function textOr(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
