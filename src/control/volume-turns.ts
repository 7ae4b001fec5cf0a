/** What use cases on a volume have in common: one change at a time, decided on its record, and recorded with its operation before it is carried out. */

import { Refusal } from '../model/errors.ts';
import type { OperationRecord, VolumeRecord } from '../model/records.ts';
import type { Cluster } from './cluster/cluster.ts';
import { decideAgain } from './conflicts.ts';
import type { Drives } from './drives.ts';
import { similar } from './names.ts';
import { isPassing, newOperation, runOperation } from './operations.ts';
import type { ControlParts } from './parts.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';
import type { Restore, VolumeSettler } from './volume-settler.ts';

export type VolumeTurnsUses = {
  readonly drives: Drives;
  readonly settler: VolumeSettler;
  /** Undefined on a single machine. */
  readonly cluster: Cluster | undefined;
};

export class VolumeTurns {
  readonly #parts: ControlParts;
  readonly #uses: VolumeTurnsUses;

  constructor(parts: ControlParts, uses: VolumeTurnsUses) {
    this.#parts = parts;
    this.#uses = uses;
  }

  /** Runs `task` when no other has the volume's turn, and anew where the records that it decided on had changed. */
  enter<T>(name: string, task: () => Promise<T>): Promise<T> {
    return this.#parts.turnstile.enter(`volume/${name}`, () => decideAgain(task));
  }

  /** Ends what an earlier request left half done, as it can be. Throws while it cannot be ended yet, or another node is at it. */
  async atRest(name: string): Promise<void> {
    const { cluster, settler } = this.#uses;
    await cluster?.takeOver(name, (volume) => settler.isAtRest(volume));
    await settler.settle(name).catch((error: unknown) => {
      if (isPassing(error)) throw error;
    });
  }

  /** The volume of this name. Throws VOLUME_NOT_FOUND, with a name that is like it. */
  async kept(name: string): Promise<Kept<VolumeRecord>> {
    const kept = await this.#parts.records.volume(name);
    if (kept !== undefined) return kept;
    const names = (await this.#parts.records.volumes()).map((volume) => volume.name);
    throw new Refusal('VOLUME_NOT_FOUND', { volume: name, hint: similar(name, names) });
  }

  /** A volume that no other node has attached. Throws VOLUME_NOT_FOUND, VOLUME_ELSEWHERE. */
  async mine(name: string, action: string): Promise<Kept<VolumeRecord>> {
    const kept = await this.kept(name);
    this.#uses.cluster?.refuseElsewhere(kept.record, action);
    return kept;
  }

  /** Records the wanted state of a volume that was read in `version`, 0 of a new one, with its operation, and settles. */
  async want(
    kind: string,
    { record: wanted, version }: Kept<VolumeRecord>,
    restore?: Restore,
  ): Promise<void> {
    const { node } = this.#parts;
    const record = node === undefined ? wanted : { ...wanted, settledBy: node };
    const key = `volume/${record.name}`;
    const { resizeToBytes: sizeBytes } = record;
    const operation: OperationRecord = {
      ...newOperation(this.#parts, kind, key),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    if (version === 0) await this.#place(record, operation);
    else await this.record({ record, version }, operation);
    await runOperation(this.#parts, operation, async () => {
      await this.#uses.settler.settle(record.name, restore);
      // Taken by another node meanwhile, it is not this one's.
      if (record.attachment?.state === 'attaching') await this.mine(record.name, 'attach');
    });
  }

  /** Puts the volume and the operation on it. */
  record({ record, version }: Kept<VolumeRecord>, operation: OperationRecord): Promise<unknown> {
    const { target: key } = operation;
    const puts = [{ key, record }, ...operationPuts(operation)];
    return this.#parts.records.change({ conditions: [{ key, version }], puts });
  }

  #place(record: VolumeRecord, operation: OperationRecord): Promise<void> {
    const { drives, cluster } = this.#uses;
    const { replication } = record;
    const puts = operationPuts(operation);
    return cluster !== undefined && replication !== undefined
      ? cluster.place({ ...record, replication }, puts)
      : drives.place(record, puts);
  }
}
