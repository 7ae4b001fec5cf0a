/** Compares what is there (engine, attacher, mounts, files) with what the records say: nothing more, nothing less. */

import fs from 'node:fs';
import path from 'node:path';

import { MadeLog } from '../../src/attacher/made-log.ts';
import { readMounts } from '../../src/attacher/mount-table.ts';
import type { OperationView } from '../../src/control/operation-schemas.ts';
import type { DriveView } from '../../src/control/drive-schemas.ts';
import type { TrashedView, VolumeView } from '../../src/control/schemas.ts';
import type { ControlRig } from './control-rig.ts';

/** Differences as sentences; empty where there is none. */
export async function findLeaks(rig: ControlRig): Promise<string[]> {
  const drives = await rig.api.get<DriveView[]>('/v1/drives');
  const volumes = await rig.api.get<VolumeView[]>('/v1/volumes');
  const trash = await rig.api.get<TrashedView[]>('/v1/trash');
  const operations = await rig.api.get<OperationView[]>('/v1/operations');
  const running = operations.filter(({ state }) => state !== 'done' && state !== 'failed');
  return [
    ...running.map(({ kind, state }) => `operation ${kind} is ${state}`),
    ...(await driveLeaks(rig, drives)),
    ...(await volumeLeaks(rig, volumes, trash)),
    ...mountLeaks(rig, volumes),
  ];
}

function compare(what: string, there: Iterable<string>, recorded: Iterable<string>): string[] {
  const [actual, wanted] = [[...there].toSorted(), [...recorded].toSorted()];
  if (JSON.stringify(actual) === JSON.stringify(wanted)) return [];
  return [`${what}: there ${JSON.stringify(actual)}, recorded ${JSON.stringify(wanted)}`];
}

async function driveLeaks(rig: ControlRig, drives: readonly DriveView[]): Promise<string[]> {
  const { directory } = rig.installation;
  const { drives: open } = await rig.engine.call('drive.list', {});
  const list = JSON.parse(fs.readFileSync(path.join(directory, 'engine.json'), 'utf8'));
  const folder = path.join(directory, 'drives');
  const files = fs.readdirSync(folder).map((name) => path.join(folder, name));
  const own = drives.map((drive) => drive.path).filter((file) => file.startsWith(folder));
  return [
    ...drives
      .filter(({ state }) => state !== 'open')
      .map((drive) => `${drive.name}: ${drive.state}`),
    ...compare(
      'open drives',
      ids(open, 'driveId'),
      drives.map(({ id }) => id),
    ),
    ...compare(
      'engine.json',
      ids(list.drives, 'driveId'),
      drives.map(({ id }) => id),
    ),
    ...compare('drive files', files, own),
  ];
}

async function volumeLeaks(
  rig: ControlRig,
  volumes: readonly VolumeView[],
  trash: readonly TrashedView[],
): Promise<string[]> {
  const there = await volumesOfEngine(rig);
  const { devices } = await rig.attacher.call('list', {});
  const attached = volumes.flatMap(({ attachment }) => (attachment === null ? [] : [attachment]));
  const sockets = fs.readdirSync(path.join(rig.installation.runDirectory, 'nbd'));
  const onDevices = attached.filter((attachment) => attachment.as === 'device');
  const unsettled = volumes.filter(
    ({ state, attachment, mount }) =>
      (state !== 'idle' && state !== 'attached') ||
      (attachment !== null && attachment.state !== 'attached') ||
      (mount !== null && mount.state !== 'mounted'),
  );
  return [
    ...trash
      .filter(({ state }) => state !== 'kept')
      .map((each) => `not at rest: ${JSON.stringify(each)}`),
    ...unsettled.map((volume) => `not at rest: ${JSON.stringify(volume)}`),
    ...compare(
      'volumes',
      there.map((each) => `${String(each['uuid'])} ${String(each['sizeBytes'])}`),
      [...volumes, ...trash].map(({ id, sizeBytes }) => `${id} ${sizeBytes}`),
    ),
    ...compare(
      'served',
      ids(there, 'attachId'),
      attached.map(({ attachId }) => attachId),
    ),
    ...compare(
      'sockets',
      sockets,
      attached.map(({ attachId }) => `${attachId}.sock`),
    ),
    ...compare(
      'devices',
      ids(devices, 'device'),
      onDevices.map(({ device }) => device ?? ''),
    ),
    ...compare(
      'attach ids',
      ids(devices, 'attachId'),
      onDevices.map(({ attachId }) => attachId),
    ),
  ];
}

/** All of them, answer by answer. */
async function volumesOfEngine(rig: ControlRig): Promise<Record<string, unknown>[]> {
  const volumes: Record<string, unknown>[] = [];
  for (let more: unknown = true; more === true;) {
    const [after] = ids(volumes.slice(-1), 'uuid');
    const args = after === undefined ? {} : { after };
    const answer = await rig.engine.call('volume.list', args);
    volumes.push(...entries(answer['volumes']));
    more = answer['more'];
  }
  return volumes;
}

function mountLeaks(rig: ControlRig, volumes: readonly VolumeView[]): string[] {
  const { directory, runDirectory } = rig.installation;
  const mounted = volumes.filter(({ mount }) => mount !== null);
  const wanted = mounted.map(({ mount, attachment }) => `${attachment?.device} ${mount?.path}`);
  const there = readMounts()
    .filter((mount) => mount.path.startsWith(`${rig.directory}/`) && !mount.type.startsWith('fuse'))
    .map((mount) => `${mount.source} ${mount.path}`);
  const made = new MadeLog(runDirectory).entries();
  const recorded = made.flatMap((each) => (each.kind === 'mount' ? [each] : []));
  const folders = fs.readdirSync(path.join(directory, 'mnt'));
  const own = mounted.filter(({ mount }) => mount?.path.startsWith(`${directory}/mnt/`) === true);
  return [
    ...compare('mounts', there, wanted),
    ...compare(
      'made.jsonl',
      recorded.map((each) => `${each.device} ${each.path}`),
      wanted,
    ),
    ...compare(
      'mount points',
      folders,
      own.map(({ name }) => name),
    ),
  ];
}

function entries(list: unknown): Record<string, unknown>[] {
  return Array.isArray(list) ? list : [];
}

/** The values of one field, where it is there. */
function ids(list: unknown, field: string): string[] {
  return entries(list).flatMap((each) => (typeof each[field] === 'string' ? [each[field]] : []));
}
