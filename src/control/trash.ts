/** The trash: removed volumes, which hold their data and their space until their time is over. */

import { isDeepStrictEqual } from 'node:util';

import { TRANSACTION_KEYS_MAX } from '../metadata/cluster-store.ts';
import { Refusal } from '../model/errors.ts';
import { formatDuration } from '../model/durations.ts';
import { checkName } from '../model/ids.ts';
import type { TrashRecord, VolumeRecord } from '../model/records.ts';
import { decideAgain } from './conflicts.ts';
import { similar } from './names.ts';
import { endedOperation, isPassing, newOperation, runOperation } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import { type Look, isOver } from './purge-clock.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';
import type { VolumeData } from './volume-data.ts';

/** Moves a volume that is at rest into the trash, in one transaction. The caller holds the volume's turn. */
export async function throwAway(
  parts: ControlParts,
  { record: volume, version }: Kept<VolumeRecord>,
  retentionMs: number,
): Promise<TrashRecord> {
  const key = `volume/${volume.name}`;
  const operation = endedOperation(parts, 'volume.remove', key);
  const nowMs = operation.startedAtMs;
  const trashed: TrashRecord = {
    volume,
    state: 'kept',
    removedAtMs: nowMs,
    purgeAtMs: nowMs + retentionMs,
  };
  await parts.records.change({
    conditions: [{ key, version }],
    puts: [{ key: `trash/${volume.id}`, record: trashed }, ...operationPuts(operation)],
    deletes: [key],
  });
  parts.onStep('volume.remove: in the trash');
  return trashed;
}

/** What emptying it is the operation of. */
const WHOLE_TRASH = 'trash/all';

export class Trash {
  readonly #parts: ControlParts;
  readonly #dataOf: (volume: VolumeRecord) => VolumeData;
  #isHeldTold = false;

  constructor(parts: ControlParts, dataOf: (volume: VolumeRecord) => VolumeData) {
    this.#parts = parts;
    this.#dataOf = dataOf;
  }

  /** The volume of this id or name in the trash, of several that had the name the last one. Throws TRASH_NOT_FOUND. */
  async get(idOrName: string): Promise<TrashRecord> {
    const trash = await this.#parts.records.trash();
    const found =
      trash.find(({ volume }) => volume.id === idOrName) ??
      trash.find(({ volume }) => volume.name === idOrName);
    if (found !== undefined) return found;
    const hint = similar(
      idOrName,
      trash.map(({ volume }) => volume.name),
    );
    throw new Refusal('TRASH_NOT_FOUND', { volume: idOrName, hint });
  }

  /**
   * Takes a volume out of the trash, as it was, under its own or another name. Restored under that name already, it stays. Throws
   * TRASH_NOT_FOUND, and VOLUME_EXISTS where the name is taken.
   */
  restore(id: string, wishedName: string | undefined): Promise<VolumeRecord> {
    const { records, turnstile } = this.#parts;
    return this.#inTurn(id, async () => {
      const kept = await records.trashed(id);
      if (kept?.record.state !== 'kept' || (await this.#isEmptied(kept.record))) {
        return this.#restored(id);
      }
      const name = checkName(wishedName ?? kept.record.volume.name);
      return turnstile.enter(`volume/${name}`, async () => {
        if ((await records.volume(name)) !== undefined) {
          throw new Refusal('RESTORE_NAME_USED', { volume: name });
        }
        const volume: VolumeRecord = { ...kept.record.volume, name };
        const key = `volume/${name}`;
        const ended = endedOperation(this.#parts, 'volume.restore', key);
        await records.change({
          conditions: [
            { key, version: 0 },
            { key: `trash/${id}`, version: kept.version },
          ],
          puts: [{ key, record: volume }, ...operationPuts(ended)],
          deletes: [`trash/${id}`],
        });
        this.#parts.onStep('volume.restore: restored');
        return volume;
      });
    });
  }

  async #restored(id: string): Promise<VolumeRecord> {
    const volumes = await this.#parts.records.volumes();
    const found = volumes.find((volume) => volume.id === id);
    if (found === undefined) throw new Refusal('TRASH_NOT_FOUND', { volume: id, hint: '' });
    return found;
  }

  /**
   * Removes one from the trash with all that it holds. One that is not there is removed already: false then, and where it is not `seen`: what
   * was decided on it then does not hold where it was restored and removed again since.
   */
  purge(id: string, seen?: TrashRecord): Promise<boolean> {
    return this.#inTurn(id, async () => {
      const kept = await this.#parts.records.trashed(id);
      if (kept === undefined) return false;
      if (seen !== undefined && !isDeepStrictEqual(kept.record, seen)) return false;
      const key = `trash/${id}`;
      const operation = newOperation(this.#parts, 'trash.purge', key);
      const record: TrashRecord = { ...kept.record, state: 'purging' };
      await this.#parts.records.change({
        conditions: [{ key, version: kept.version }],
        puts: [{ key, record }, ...operationPuts(operation)],
      });
      await runOperation(this.#parts, operation, () => this.settle(id));
      return true;
    });
  }

  /** Removes from the trash what has been there for its time. What cannot be removed holds up no other. */
  async purgeExpired(look: Look): Promise<void> {
    let heldCount = 0;
    for (const record of await this.#parts.records.trash()) {
      const { volume, state, removedAtMs, purgeAtMs } = record;
      const { id, name } = volume;
      const time = isOver({ fromMs: removedAtMs, untilMs: purgeAtMs }, look);
      // Whoever wanted it gone at once looked at no clock.
      if (time === 'held' && state === 'kept') heldCount++;
      if (time === 'kept' || (time === 'held' && state === 'kept')) continue;
      // One that is wanted gone already is tried again, without an operation for each try.
      const purged: Promise<unknown> =
        state === 'kept' ? this.purge(id, record) : this.#inTurn(id, () => this.settle(id));
      await purged.catch((error: unknown) => {
        this.#parts.log('control.space_lost', { volume: name, error: String(error) });
      });
    }
    await this.#tellHeld(heldCount, look);
  }

  /** Once, until nothing is held any more. */
  async #tellHeld(count: number, { wallMs, passedMs }: Look): Promise<void> {
    const isTold = this.#isHeldTold;
    this.#isHeldTold = count > 0;
    if (count === 0 || isTold) return;
    await tell(this.#parts, 'trash.held', {
      subject: WHOLE_TRASH,
      what: `Volumes stay in the trash until their time has passed, though the clock says that it has: ${count}`,
      cause: `the clock was set forward by ${formatDuration(wallMs - passedMs)}. holdfast trash empty removes them now`,
    });
  }

  /**
   * Removes everything that is in the trash now, as one operation. Returns how many volumes. There may be more of them than a transaction
   * takes: each is told which operation it waits for, and the record of that takes all of them at once.
   */
  empty(): Promise<number> {
    return this.#inTurn('all', async () => {
      const trash = await this.#parts.records.keptTrash();
      if (trash.length === 0) return 0;
      const count = trash.length;
      const operation = { ...newOperation(this.#parts, 'trash.empty', WHOLE_TRASH), count };
      await this.#putEach(trash, (record) => ({ ...record, emptying: operation.id }));
      await this.#parts.records.change({ puts: operationPuts(operation) });
      await runOperation(this.#parts, operation, async () => {
        await this.#markEmptied(operation.id);
        await this.#settleAll(trash.map(({ record }) => record.volume));
      });
      return count;
    });
  }

  /** An emptying that a dead control had recorded goes on with what {@link settle} does. */
  async resumeEmptying(): Promise<void> {
    const { records, progress } = this.#parts;
    for (const { id, kind, state } of await records.operations()) {
      if (kind !== 'trash.empty' || state !== 'running' || progress.isUnderWay(id)) continue;
      await this.#markEmptied(id);
    }
  }

  async #isEmptied({ emptying }: TrashRecord): Promise<boolean> {
    return emptying !== undefined && (await this.#parts.records.operation(emptying)) !== undefined;
  }

  async #markEmptied(operationId: string): Promise<void> {
    // One may be restored in the moment in which the operation was recorded: the others stay with it.
    await decideAgain(async () => {
      const trash = await this.#parts.records.keptTrash();
      const waiting = trash.filter(
        ({ record }) => record.emptying === operationId && record.state === 'kept',
      );
      await this.#putEach(waiting, (record) => ({ ...record, state: 'purging' }));
    });
  }

  /** `id`: of a volume, or `all`. */
  #inTurn<T>(id: string, task: () => Promise<T>): Promise<T> {
    return this.#parts.turnstile.enter(`trash/${id}`, () => decideAgain(task));
  }

  async #putEach(
    trash: readonly Kept<TrashRecord>[],
    change: (record: TrashRecord) => TrashRecord,
  ): Promise<void> {
    for (let at = 0; at < trash.length; at += TRANSACTION_KEYS_MAX) {
      const some = trash.slice(at, at + TRANSACTION_KEYS_MAX).map(({ record, version }) => ({
        key: `trash/${record.volume.id}`,
        version,
        record: change(record),
      }));
      await this.#parts.records.change({
        conditions: some.map(({ key, version }) => ({ key, version })),
        puts: some.map(({ key, record }) => ({ key, record })),
      });
    }
  }

  /** What cannot be removed holds up no other; the first error is thrown in the end. */
  async #settleAll(volumes: readonly VolumeRecord[]): Promise<void> {
    const { progress } = this.#parts;
    const total = volumes.length;
    const failures: unknown[] = [];
    for (const [done, { id, name }] of volumes.entries()) {
      progress.show(WHOLE_TRASH, `removing "${name}"`, { done, total, unit: 'volumes' });
      try {
        await this.#inTurn(id, () => this.settle(id));
      } catch (error) {
        if (isPassing(error)) throw error;
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Ends a purge that was begun; may be called again after a crash at any point. The caller holds the turn `trash/ID`. */
  settle(id: string): Promise<void> {
    return decideAgain(() => this.#purge(id));
  }

  async #purge(id: string): Promise<void> {
    const { records, onStep } = this.#parts;
    const kept = await records.trashed(id);
    if (kept?.record.state !== 'purging') return;
    await this.#dataOf(kept.record.volume).remove(kept.record.volume);
    onStep('trash.purge: gone');
    await records.change({
      conditions: [{ key: `trash/${id}`, version: kept.version }],
      deletes: [`trash/${id}`, `usage/${id}`],
    });
  }
}
