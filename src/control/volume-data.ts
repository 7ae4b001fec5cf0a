/** What a volume's settling asks of the engines: of a volume on one drive here; `cluster/replicated-data.ts` does it for replicas on nodes. */

import { type ErrorCode, Refusal } from '../model/errors.ts';
import type { AttachmentRecord, GoneRecord, VolumeRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { LineClient } from './line-client.ts';
import type { ControlParts } from './parts.ts';

/** Each call may be repeated after a crash at any point, and is one change. */
export type VolumeData = {
  create(volume: VolumeRecord): Promise<void>;
  /** Removes it with what it holds. */
  remove(volume: VolumeRecord): Promise<void>;
  /** Serves it. Resolves with the socket. */
  attach(volume: VolumeRecord, attachment: AttachmentRecord): Promise<string>;
  /** Drains, flushes, and ends the service. */
  detach(volume: VolumeRecord, attachment: AttachmentRecord): Promise<void>;
  /** Fails what its clients still want of it, at once, where that can be; {@link detach} follows. Not in turn with the other calls. */
  end(volume: VolumeRecord, attachment: AttachmentRecord): Promise<void>;
  resize(volume: VolumeRecord, sizeBytes: number): Promise<void>;
  /** Whether nothing was ever written to it, as far as that can be told. */
  isBlank(volume: VolumeRecord): Promise<boolean>;
  /** What its engine says of it; undefined while that is away. */
  status(volume: VolumeRecord): Promise<JsonObject | undefined>;
};

/** With which an engine refuses what is wanted of a volume that has an attachment of another id. */
const ATTACHED: readonly ErrorCode[] = ['VOLUME_ATTACHED', 'VOLUME_ATTACHED_OTHERWISE'];

/** A volume on one drive of this machine: its engine does it. */
export class DriveVolumeData implements VolumeData {
  readonly #parts: ControlParts;

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  async create({ id: uuid, drive: name, sizeBytes }: VolumeRecord): Promise<void> {
    const drive = await this.#parts.records.drive(name);
    const driveId = drive?.record.id ?? '';
    await this.#parts.engine.call('volume.create', { driveId, uuid, sizeBytes });
  }

  async remove({ id, drive }: VolumeRecord): Promise<void> {
    const { records } = this.#parts;
    const driveId = (await records.drive(drive))?.record.id;
    if (driveId === undefined || (await deleteFromDrive(this.#parts, id, driveId))) return;
    const record: GoneRecord = { volumeId: id, driveId };
    await records.change({ puts: [{ key: `gone/${id}`, record }] });
  }

  async attach(volume: VolumeRecord, { attachId }: AttachmentRecord): Promise<string> {
    const { id: uuid, epoch } = volume;
    const attach = () => this.#parts.engine.call('volume.attach', { uuid, attachId, epoch });
    const served = await asRecorded(this.#parts, uuid, attach).catch((error: unknown) =>
      this.#explain(volume, error),
    );
    return textOf(served, 'socketPath');
  }

  /** The engine knows no volume of a drive that it could not open. */
  async #explain({ name, drive }: VolumeRecord, error: unknown): Promise<never> {
    if (!(error instanceof Refusal) || error.code !== 'VOLUME_NOT_FOUND') throw error;
    const status = await driveStatus(this.#parts, drive);
    if (status?.['state'] === 'open') throw new Refusal('VOLUME_LOST', { volume: name });
    const state = `${String(status?.['state'] ?? 'not open')}: ${String(status?.['reason'] ?? '')}`;
    throw new Refusal('DRIVE_NOT_READY', { drive, state });
  }

  /** Nobody serves one of a drive that is away; when that is back, what it has of the attachment counts no more. */
  async detach({ id: uuid }: VolumeRecord, { attachId }: AttachmentRecord): Promise<void> {
    await this.#parts.engine.call('volume.detach', { uuid, attachId }).catch((error: unknown) => {
      if (!(error instanceof Refusal) || error.code !== 'VOLUME_NOT_FOUND') throw error;
    });
  }

  /** The drive has what it was asked, and what its engine tells of that: it fails where the drive does. */
  end(): Promise<void> {
    return Promise.resolve();
  }

  async resize({ id: uuid }: VolumeRecord, sizeBytes: number): Promise<void> {
    await this.#parts.engine.call('volume.resize', { uuid, sizeBytes });
  }

  async isBlank({ id: uuid, wasMounted }: VolumeRecord): Promise<boolean> {
    const { allocatedBytes } = await this.#parts.engine.call('volume.status', { uuid });
    return allocatedBytes === 0 && wasMounted !== true;
  }

  status({ id: uuid }: VolumeRecord): Promise<JsonObject | undefined> {
    const bounds = { waitMs: 1000, silenceMs: 2000 };
    return this.#parts.engine.call('volume.status', { uuid }, bounds).catch(() => undefined);
  }
}

/** Records that were put back from a backup may know nothing of an attachment that the drive has. They count: it is ended then. */
async function asRecorded(
  { engine }: Pick<ControlParts, 'engine'>,
  uuid: string,
  call: () => Promise<JsonObject>,
): Promise<JsonObject> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof Refusal) || !ATTACHED.includes(error.code)) throw error;
    const { attachId } = await engine.call('volume.status', { uuid });
    await engine.call('volume.detach', { uuid, attachId });
    return await call();
  }
}

/** False: the drive is away, and has the volume still. */
async function deleteFromDrive(
  parts: Pick<ControlParts, 'engine'>,
  uuid: string,
  driveId: string,
): Promise<boolean> {
  const { engine } = parts;
  const { drives } = await engine.call('drive.list', {});
  const status = (drives as readonly JsonObject[]).find((drive) => drive['driveId'] === driveId);
  // Of one that could not be opened the engine knows no size.
  const isAway = status?.['state'] === 'faulted' && status['sizeBytes'] === undefined;
  if (status === undefined || isAway) return false;
  await asRecorded(parts, uuid, () => engine.call('volume.delete', { uuid }));
  return true;
}

/** Deletes what was removed while its drive was away from those that are back. */
export async function deleteGone(parts: Pick<ControlParts, 'engine' | 'records'>): Promise<void> {
  const { records } = parts;
  for (const { volumeId, driveId } of await records.gone()) {
    const isRecorded = (await records.drives()).some(({ id }) => id === driveId);
    // With a drive that was removed its volumes are.
    if (isRecorded && !(await deleteFromDrive(parts, volumeId, driveId))) continue;
    await records.change({ deletes: [`gone/${volumeId}`] });
  }
}

/** Ids of the volumes that a drive has and no record tells of: made after the backup from which the records were restored. */
export async function unrecordedOn(
  { engine, records }: Pick<ControlParts, 'engine' | 'records'>,
  driveId: string,
): Promise<readonly string[]> {
  const trash = (await records.trash()).map(({ volume }) => volume);
  const known = new Set([...(await records.volumes()), ...trash].map(({ id }) => id));
  for (const { volumeId } of await records.gone()) known.add(volumeId);
  const found: string[] = [];
  let after: string | undefined;
  do {
    const answer = await engine.call('volume.list', after === undefined ? {} : { after });
    const page = answer['volumes'] as readonly JsonObject[];
    const on = page.filter((volume) => volume['driveId'] === driveId);
    found.push(...on.map(({ uuid }) => String(uuid)).filter((uuid) => !known.has(uuid)));
    after = answer['more'] === true ? String(page.at(-1)?.['uuid']) : undefined;
  } while (after !== undefined);
  return found;
}

/** What the engine says of this drive. */
export async function driveStatus(
  { records, engine }: ControlParts,
  name: string,
): Promise<JsonObject | undefined> {
  const drive = await records.drive(name);
  const { drives } = await engine.call('drive.list', {});
  return (drives as readonly JsonObject[]).find(({ driveId }) => driveId === drive?.record.id);
}

/** A text that an answer must have. */
export function textOf(answer: JsonObject, name: string): string {
  const value = answer[name];
  if (typeof value !== 'string') {
    throw new Refusal('ENGINE_REFUSED', { call: name, problem: `its answer has no "${name}"` });
  }
  return value;
}

/** One call asks for no more. */
const STATUS_COUNT_MAX = 128;

/** What the engine says of these volumes of its drives, by id. What it does not answer in time is left out. */
export async function engineStatuses(
  engine: LineClient,
  ids: readonly string[],
): Promise<Map<string, JsonObject>> {
  const calls: Promise<JsonObject | undefined>[] = [];
  for (let from = 0; from < ids.length; from += STATUS_COUNT_MAX) {
    const uuids = ids.slice(from, from + STATUS_COUNT_MAX);
    const bounds = { waitMs: 1000, silenceMs: 2000 };
    calls.push(engine.call('volume.list', { uuids }, bounds).catch(() => undefined));
  }
  const statuses = new Map<string, JsonObject>();
  for (const answer of await Promise.all(calls)) {
    for (const volume of (answer?.['volumes'] ?? []) as readonly JsonObject[]) {
      statuses.set(String(volume['uuid']), volume);
    }
  }
  return statuses;
}
