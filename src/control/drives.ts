/** Use cases on drives, and the list of drives that the engine opens by itself. */

import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../model/errors.ts';
import { checkName } from '../model/ids.ts';
import type { DriveRecord, OperationRecord, VolumeRecord } from '../model/records.ts';
import { formatSize, formatSizeExact } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { decideAgain } from './conflicts.ts';
import { deleteDriveFile, recordsInode } from './drive-file.ts';
import { FORMAT_SILENCE_MS, FORMAT_WAIT_MS, needsGrowth, settleGrowth } from './drive-growth.ts';
import { checkSpace } from './drive-space.ts';
import { writeEngineList } from './engine-list.ts';
import { similar } from './names.ts';
import { isPassing, newOperation, runOperation } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';

export type DriveWish = {
  readonly name: string;
  /** DIR/drives/NAME.img without it. */
  readonly path: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly sparse: boolean;
  readonly force: boolean;
};

export class Drives {
  readonly #parts: ControlParts;

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  async get(name: string): Promise<DriveRecord> {
    return (await this.#kept(name)).record;
  }

  async #kept(name: string): Promise<Kept<DriveRecord>> {
    const kept = await this.#parts.records.drive(name);
    if (kept !== undefined) return { ...kept, record: this.#here(kept.record) };
    const names = (await this.#parts.records.drives()).map((drive) => drive.name);
    throw new Refusal('DRIVE_NOT_FOUND', { drive: name, hint: similar(name, names) });
  }

  #here(drive: DriveRecord): DriveRecord {
    const { name, node = '' } = drive;
    if (drive.node !== this.#parts.node)
      throw new Refusal('DRIVE_ELSEWHERE', { drive: name, node });
    return drive;
  }

  /** Adds a drive: formats its file or device and opens it. The same wish again is the same drive. */
  add(wish: DriveWish): Promise<DriveRecord> {
    const name = checkName(wish.name);
    return this.#inTurn(name, async () => {
      await this.#atRest(name);
      const drives = await this.#parts.records.drives();
      const at = path.resolve(
        wish.path ?? path.join(this.#parts.installation.directory, 'drives', `${name}.img`),
      );
      const known = (await this.#parts.records.drive(name))?.record;
      if (known !== undefined) return this.#same(this.#here(known), { ...wish, path: at });
      const holder = drives.find((drive) => drive.path === at);
      if (holder !== undefined)
        throw new Refusal('DRIVE_PATH_USED', { drive: name, path: at, holder: holder.name });
      const isNew = !fs.existsSync(at);
      if (isNew) checkSpace(at, wish);
      const record: DriveRecord = {
        name,
        id: this.#parts.newId(),
        path: at,
        made: isNew,
        madeBy: isNew ? recordsInode(this.#parts.installation.directory) : undefined,
        sparse: wish.sparse,
        force: wish.force,
        sizeBytes: wish.sizeBytes,
        state: 'adding',
        createdAtMs: this.#parts.wallMs(),
        ...(this.#parts.node === undefined ? {} : { node: this.#parts.node }),
      };
      const operation = await this.#want('drive.add', { record, version: 0 });
      await runOperation(this.#parts, operation, () => this.settle(name));
      return this.get(name);
    });
  }

  #same(record: DriveRecord, wish: DriveWish): DriveRecord {
    const difference =
      record.path !== wish.path
        ? `path "${record.path}"`
        : record.sizeBytes !== undefined &&
            wish.sizeBytes !== undefined &&
            record.sizeBytes !== wish.sizeBytes
          ? `a size of ${formatSizeExact(record.sizeBytes)}`
          : undefined;
    if (difference !== undefined)
      throw new Refusal('DRIVE_EXISTS', { drive: record.name, difference });
    return record;
  }

  /** Ends what an earlier request left half done, as it can be. Throws while it cannot be ended yet. */
  async #atRest(name: string): Promise<void> {
    await this.settle(name).catch((error: unknown) => {
      if (isPassing(error)) throw error;
    });
  }

  /** Makes a drive larger; what waits for room on it is then tried again. One that has the size already stays as it is. */
  grow(name: string, sizeBytes: number): Promise<DriveRecord> {
    return this.#inTurn(name, async () => {
      await this.#atRest(name);
      const { record, version } = await this.#kept(name);
      const statuses = byId(await this.#parts.engine.call('drive.list', {}));
      if (!needsGrowth(record, statuses.get(record.id), sizeBytes)) return record;
      const wanted = { ...record, growToBytes: sizeBytes };
      const operation = await this.#want('drive.grow', { record: wanted, version });
      await runOperation(this.#parts, operation, () => this.settle(name));
      this.#parts.askReconcile();
      return this.get(name);
    });
  }

  /** Removes a drive that holds no volume: a file that Holdfast made is deleted, anything else is left as it is. */
  remove(name: string): Promise<boolean> {
    return this.#inTurn(name, async () => {
      await this.#atRest(name);
      // No volume is placed between the look and the record of the removal.
      const { turnstile } = this.#parts;
      const operation = await turnstile.enter(placingOn(name), () => this.#wantRemoval(name));
      if (operation === undefined) return false;
      await runOperation(this.#parts, operation, () => this.settle(name));
      return true;
    });
  }

  async #wantRemoval(name: string): Promise<OperationRecord | undefined> {
    const kept = await this.#parts.records.drive(name);
    if (kept === undefined) return undefined;
    this.#here(kept.record);
    const { records } = this.#parts;
    const on = ({ drive }: { readonly drive: string }): boolean => drive === name;
    const volumes = [
      ...(await records.replicasNow()).filter(on).map(({ volume }) => `"${volume}"`),
      ...(await records.volumes()).filter(on).map((volume) => `"${volume.name}"`),
      ...(await records.trash())
        .filter(({ volume }) => on(volume))
        .map(({ volume }) => `"${volume.name}" (in the trash)`),
    ];
    if (volumes.length > 0) {
      const names = volumes.slice(0, 5);
      const rest = volumes.length > 5 ? ` and ${volumes.length - 5} more` : '';
      throw new Refusal('DRIVE_IN_USE', { drive: name, volumes: names.join(', ') + rest });
    }
    const { record, version } = kept;
    return this.#want('drive.remove', { record: { ...record, state: 'removing' }, version });
  }

  /** The drive to place a volume on: the one named, or the one with the most space. */
  async choose(wanted: string | undefined, volume: string): Promise<string> {
    if (wanted !== undefined) {
      const drive = await this.get(wanted);
      if (drive.state !== 'ready')
        throw new Refusal('DRIVE_NOT_READY', { drive: wanted, state: drive.state });
      return wanted;
    }
    const drives = (await this.#parts.records.drives()).filter((drive) => drive.state === 'ready');
    // Where to put it only the engine can tell: it is waited for, since it may just be restarting.
    const statuses = byId(await this.#parts.engine.call('drive.list', {}, { silenceMs: 10_000 }));
    let best: DriveRecord | undefined;
    let most = -1;
    for (const drive of drives) {
      const status = statuses.get(drive.id);
      const hasRoom = status?.['state'] === 'open' && status['freeVolumes'] !== 0;
      const free = hasRoom ? Number(status['freeBytes']) : -1;
      if (free > most) [best, most] = [drive, free];
    }
    if (best !== undefined) return best.name;
    const [first] = drives;
    if (first === undefined) throw new Refusal('DRIVE_NONE', { volume });
    const status = statuses.get(first.id);
    const state =
      status?.['freeVolumes'] === 0
        ? 'full: its table takes no more volumes'
        : String(status?.['reason'] ?? 'not open');
    throw new Refusal('DRIVE_NOT_READY', { drive: first.name, state });
  }

  /**
   * Throws DRIVE_PROMISED where a volume with `addedBytes` more would be more than the settings let a drive's volumes have together. The
   * caller holds the turn {@link placingOn}.
   */
  async checkPromise(
    { name, drive }: { readonly name: string; readonly drive: string },
    addedBytes: number,
  ): Promise<void> {
    const { records, engine } = this.#parts;
    const { overprovisionPercent: percent } = await records.settings();
    const record = (await records.drive(drive))?.record;
    if (percent === null || record === undefined) return;
    const statuses = byId(await engine.call('drive.list', {}, { silenceMs: 10_000 }));
    const known = statuses.get(record.id)?.['sizeBytes'] ?? record.sizeBytes;
    const sizeBytes = Number(known ?? Number.POSITIVE_INFINITY);
    let promisedBytes = 0;
    // Those in the trash too: a volume is restored without being asked whether there is room for it.
    const [volumes, trash] = await Promise.all([records.volumes(), records.trash()]);
    for (const volume of [...volumes, ...trash.map((each) => each.volume)]) {
      if (volume.drive !== drive) continue;
      promisedBytes += Math.max(volume.sizeBytes, volume.resizeToBytes ?? 0);
    }
    if (promisedBytes + addedBytes <= (sizeBytes / 100) * percent) return;
    throw new Refusal('DRIVE_PROMISED', {
      volume: name,
      wanted: formatSize(addedBytes),
      drive,
      promised: formatSize(promisedBytes + addedBytes),
      percent: String(percent),
      size: formatSize(sizeBytes),
    });
  }

  /**
   * Records a new volume, and what else `puts` has. Its drive's record is written too, as it is: a removal of the drive that has not seen
   * the volume then conflicts. Both take turns, or volumes that are created at once would conflict with each other.
   */
  place(
    volume: VolumeRecord,
    puts: readonly { readonly key: string; readonly record: object }[],
  ): Promise<void> {
    const { records, turnstile } = this.#parts;
    const driveKey = `drive/${volume.drive}`;
    return turnstile.enter(placingOn(volume.drive), async () => {
      const drive = await records.drive(volume.drive);
      if (drive?.record.state !== 'ready') {
        const state = drive?.record.state ?? 'removed';
        throw new Refusal('DRIVE_NOT_READY', { drive: volume.drive, state });
      }
      await this.checkPromise(volume, volume.sizeBytes);
      const key = `volume/${volume.name}`;
      await records.change({
        conditions: [
          { key, version: 0 },
          { key: driveKey, version: drive.version },
        ],
        puts: [{ key, record: volume }, { key: driveKey, record: drive.record }, ...puts],
      });
    });
  }

  /** What the engine says of its drives, by drive id. Empty while it is away. */
  async engineStatus(): Promise<ReadonlyMap<string, JsonObject>> {
    const answer = await this.#parts.engine
      .call('drive.list', {}, { waitMs: 1000, silenceMs: 2000 })
      .catch((): JsonObject => ({ drives: [] }));
    return byId(answer);
  }

  #inTurn<T>(name: string, task: () => Promise<T>): Promise<T> {
    return this.#parts.turnstile.enter(`drive/${name}`, () => decideAgain(task));
  }

  async #want(kind: string, { record, version }: Kept<DriveRecord>): Promise<OperationRecord> {
    const key = `drive/${record.name}`;
    const { growToBytes: sizeBytes } = record;
    const operation: OperationRecord = {
      ...newOperation(this.#parts, kind, key),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    await this.#parts.records.change({
      conditions: [{ key, version }],
      puts: [{ key, record }, ...operationPuts(operation)],
    });
    return operation;
  }

  /** Drives a drive's record to what it says is wanted; may be called again after a crash at any point. */
  async settle(name: string): Promise<void> {
    try {
      await decideAgain(async () => {
        const kept = await this.#parts.records.drive(name);
        if (kept?.record.node !== this.#parts.node) return;
        if (kept?.record.state === 'adding') await this.#add(kept);
        else if (kept?.record.state === 'removing') await this.#remove(kept);
        else if (kept?.record.growToBytes !== undefined) await settleGrowth(this.#parts, kept);
      });
    } finally {
      this.#parts.progress.clear(`drive/${name}`);
    }
  }

  async #add(kept: Kept<DriveRecord>): Promise<void> {
    const { engine, records, onStep, progress } = this.#parts;
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
      if (!isPassing(error)) await this.#undoAdd(kept);
      throw error;
    }
    onStep('drive.add: opened');
    await records.putDrive({ ...record, state: 'ready' }, version);
    await this.writeList();
  }

  /** Nothing of a drive that could not be added is left: no file that Holdfast made, nothing open. */
  async #undoAdd({ record, version }: Kept<DriveRecord>): Promise<void> {
    const { engine, records, installation, onStep } = this.#parts;
    const key = `drive/${record.name}`;
    await engine.call('drive.close', { driveId: record.id });
    onStep('drive.add: closed again');
    if (record.made) deleteDriveFile(installation.directory, record);
    await records.change({ conditions: [{ key, version }], deletes: [key] });
  }

  async #remove({ record, version }: Kept<DriveRecord>): Promise<void> {
    const { engine, records, onStep, progress } = this.#parts;
    const key = `drive/${record.name}`;
    await this.writeList();
    try {
      progress.show(key, 'closing it');
      await engine.call('drive.close', { driveId: record.id });
    } catch (error) {
      if (!isPassing(error)) {
        await records.putDrive({ ...record, state: 'ready' }, version);
        await this.writeList();
      }
      throw error;
    }
    onStep('drive.remove: closed');
    if (record.made) await this.#deleteFile(record);
    onStep('drive.remove: deleted');
    await records.change({ conditions: [{ key, version }], deletes: [key] });
  }

  async #deleteFile(record: DriveRecord): Promise<void> {
    const why = deleteDriveFile(this.#parts.installation.directory, record);
    if (why === undefined) return;
    await tell(this.#parts, 'drive.file_left', {
      subject: `drive/${record.name}`,
      what: `The file "${record.path}" of drive "${record.name}" is left as it is`,
      cause: why,
    });
  }

  /** Has the engine open the drives that its list did not name when it started. What cannot be opened is no drive of its, as before. */
  async openMissing(): Promise<void> {
    const { engine, records, log } = this.#parts;
    // An engine that does not answer will read its list when it starts.
    const answer = await engine.call('drive.list', {}).catch(() => undefined);
    if (answer === undefined) return;
    const known = byId(answer);
    for (const { name, id: driveId, path: at, state } of await records.drives()) {
      if (state !== 'ready' || known.has(driveId)) continue;
      await engine.call('drive.open', { driveId, path: at }).catch((error: unknown) => {
        log('reconcile.failed', { error: `drive "${name}": ${String(error)}` });
      });
    }
  }

  /** Has engine.json name the drives that are ready. */
  async writeList(): Promise<void> {
    const drives = (await this.#parts.records.drives()).filter(({ state }) => state === 'ready');
    writeEngineList(this.#parts.installation.directory, drives);
  }
}

/** The key of the turn in which volumes are placed on a drive, or the drive is taken away. */
export const placingOn = (drive: string): string => `placing on "${drive}"`;

function byId(answer: JsonObject): ReadonlyMap<string, JsonObject> {
  const drives = answer['drives'] as readonly JsonObject[];
  return new Map(drives.map((drive) => [String(drive['driveId']), drive]));
}
