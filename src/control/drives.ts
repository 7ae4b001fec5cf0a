/** Use cases on drives, and the list of drives that the engine opens by itself. */

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Fault, Refusal } from '../model/errors.ts';
import { checkName } from '../model/ids.ts';
import type { DriveRecord, DriveService, OperationRecord, VolumeRecord } from '../model/records.ts';
import { formatSize, formatSizeExact } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { decideAgain } from './conflicts.ts';
import { driveAt, settleAdoption, wantAdoption } from './drive-adoption.ts';
import { recordsInode } from './drive-file.ts';
import { needsGrowth, settleGrowth } from './drive-growth.ts';
import { aloneOn, inShort, keptDrive } from './drive-holdings.ts';
import {
  type ReplacementWish,
  isDraining,
  replacementOf,
  settleReplacement,
} from './drive-replacement.ts';
import { changeDriveService } from './drive-service.ts';
import { listDrives, settleAddition, settleRemoval } from './drive-settling.ts';
import { checkSpace, refuseVolumePath } from './drive-space.ts';
import { isPassing, newOperation, runOperation } from './operations.ts';
import type { ControlParts } from './parts.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';
import { unrecordedOn } from './volume-data.ts';

/** While replicas leave a drive that somebody waits for. */
const DRAIN_LOOK_MS = 1000;

export type DriveWish = {
  readonly name: string;
  /** DIR/drives/NAME.img without it. */
  readonly path: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly sparse: boolean;
  readonly force: boolean;
  /** The drive in whose place it is added. */
  readonly replaces?: DriveRecord['replaces'];
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
    const kept = await keptDrive(this.#parts.records, name);
    return { ...kept, record: this.#here(kept.record) };
  }

  /** Takes a drive of any node out of service, or back: see {@link changeDriveService}. */
  changeService(name: string, service: DriveService): Promise<void> {
    return changeDriveService(this.#parts, name, service);
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
      await refuseVolumePath(this.#parts, at);
      // One that failed may have made room for it there; one that is open refuses to be formatted over.
      const holder = drives.find(
        (drive) => drive.path === at && drive.name !== wish.replaces?.name,
      );
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
        ...(wish.replaces === undefined ? {} : { replaces: wish.replaces }),
      };
      const kind = wish.replaces === undefined ? 'drive.add' : 'drive.replace';
      const operation = await this.#want(kind, { record, version: 0 });
      await runOperation(this.#parts, operation, () => this.settle(name));
      return this.get(name);
    });
  }

  /**
   * Adds a drive in the place of one of this node, whose replicas leave it and which is removed then: resolves when it is. Throws
   * OPERATION_UNDONE where that was taken into service again before.
   */
  async replace(name: string, wish: ReplacementWish): Promise<DriveRecord> {
    const replacement = await replacementOf(this.#parts, name, wish);
    const { replaces } = replacement;
    for (;;) {
      try {
        const added = await this.add(replacement);
        const old = (await this.#parts.records.drive(name))?.record;
        if (old?.id !== replaces.id) return added;
        throw new Fault('OPERATION_UNDONE', { operation: 'drive.replace' });
      } catch (error) {
        if (!isDraining(error)) throw error;
      }
      await sleep(DRAIN_LOOK_MS);
    }
  }

  /** Takes over a drive of the cluster that lies at a path of this node. One that it has there already stays as it is. */
  async adopt(wanted: string): Promise<DriveRecord> {
    const parts = this.#parts;
    const at = path.resolve(wanted);
    const statuses = byId(await parts.engine.call('drive.list', {}));
    const own = (await parts.records.drives()).find((drive) => drive.path === at);
    if (own?.state === 'ready' && statuses.get(own.id)?.['state'] === 'open') return own;
    await refuseVolumePath(parts, at);
    const moved = await driveAt(parts, at);
    const { name } = moved;
    return this.#inTurn(name, async () => {
      await this.#atRest(name);
      const operation = await wantAdoption(parts, moved);
      await runOperation(parts, operation, () => this.settle(name));
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
    const replicas = (await records.replicasNow()).filter(({ drive }) => drive === name);
    const held = [
      ...replicas.map(({ volume }) => `"${volume}"`),
      ...(await aloneOn(records, name)),
      ...(await unrecordedOn(this.#parts, kept.record.id)).map((id) => `"${id}" (on no record)`),
    ];
    if (held.length > 0) throw new Refusal('DRIVE_IN_USE', { drive: name, volumes: inShort(held) });
    const { record, version } = kept;
    return this.#want('drive.remove', { record: { ...record, state: 'removing' }, version });
  }

  /** The drive to place a volume on: the one named, or the one with the most space. */
  async choose(wanted: string | undefined, volume: string): Promise<string> {
    if (wanted !== undefined) {
      const drive = await this.get(wanted);
      const state = drive.state === 'ready' ? (drive.service ?? 'open') : drive.state;
      if (state !== 'open') throw new Refusal('DRIVE_NOT_READY', { drive: wanted, state });
      return wanted;
    }
    const drives = (await this.#parts.records.drives()).filter(
      ({ state, service = 'open' }) => state === 'ready' && service === 'open',
    );
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
        if (kept?.record.state === 'adding') await settleAddition(this.#parts, kept);
        else if (kept?.record.state === 'adopting') await settleAdoption(this.#parts, kept);
        else if (kept?.record.state === 'removing') await settleRemoval(this.#parts, kept);
        else if (kept?.record.growToBytes !== undefined) await settleGrowth(this.#parts, kept);
        await settleReplacement(this.#parts, name);
      });
    } finally {
      this.#parts.progress.clear(`drive/${name}`);
    }
  }

  /** Has the engine open the drives that its list did not name when it started. What cannot be opened is no drive of its, as before. */
  async openMissing(): Promise<void> {
    const { engine, records, log } = this.#parts;
    // An engine that does not answer will read its list when it starts.
    const answer = await engine.call('drive.list', {}).catch(() => undefined);
    if (answer === undefined) return;
    const known = byId(answer);
    for (const { name, id: driveId, path: at, generation = 0, state } of await records.drives()) {
      if (state !== 'ready' || known.has(driveId)) continue;
      await engine.call('drive.open', { driveId, path: at, generation }).catch((error: unknown) => {
        log('reconcile.failed', { error: `drive "${name}": ${String(error)}` });
      });
    }
  }

  /** See {@link listDrives}. */
  writeList(): Promise<void> {
    return listDrives(this.#parts);
  }
}

/** The key of the turn in which volumes are placed on a drive, or the drive is taken away. */
export const placingOn = (drive: string): string => `placing on "${drive}"`;

function byId(answer: JsonObject): ReadonlyMap<string, JsonObject> {
  const drives = answer['drives'] as readonly JsonObject[];
  return new Map(drives.map((drive) => [String(drive['driveId']), drive]));
}
