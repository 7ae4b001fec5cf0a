/** Makes and deletes the replicas that the records want on this node's drives. Nobody else does. */

import type { ReplicaRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { isPassing } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import { decideAgain } from '../conflicts.ts';

export class ReplicaKeeper {
  readonly #parts: ControlParts;
  readonly #node: string;

  constructor(parts: ControlParts, node: string) {
    this.#parts = parts;
    this.#node = node;
  }

  /** All that are this node's. Rejects with the first error that passes by itself, after it has tried all. */
  async settleAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const { id, node, state } of await this.#parts.records.replicas()) {
      if (node !== this.#node || state === 'ready') continue;
      await this.settle(id).catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Drives one to what its record says; may be called again after a crash at any point. Of other nodes' it keeps its hands off. */
  settle(id: string): Promise<void> {
    return this.#parts.turnstile.enter(`replica/${id}`, () => decideAgain(() => this.#settle(id)));
  }

  async #settle(id: string): Promise<void> {
    const kept = await this.#parts.records.replica(id);
    if (kept?.record.node !== this.#node || kept.record.state === 'ready') return;
    const { record, version } = kept;
    if (record.state === 'creating' && record.error !== undefined) return;
    if (record.state === 'creating') await this.#create(record, version);
    else await this.#remove(record, version);
  }

  async #create(record: ReplicaRecord, version: number): Promise<void> {
    const { engine, records, onStep } = this.#parts;
    const { id, sizeBytes } = record;
    const drive = await records.drive(record.drive);
    const made = await engine
      .call('replica.create', { driveId: drive?.record.id ?? '', replica: id, sizeBytes })
      .catch((error: unknown) => {
        if (isPassing(error) || !(error instanceof Error)) throw error;
        return error;
      });
    onStep('replica.create: made');
    const after: ReplicaRecord =
      made instanceof Error
        ? { ...record, error: { code: codeOf(made), message: made.message } }
        : { ...record, state: 'ready', life: Number(made['life']) };
    const key = `replica/${id}`;
    await records.change({
      conditions: [{ key, version }],
      puts: [{ key, record: after }],
    });
  }

  async #remove({ id, drive }: ReplicaRecord, version: number): Promise<void> {
    const { engine, records, onStep } = this.#parts;
    const key = `replica/${id}`;
    try {
      await engine.call('replica.delete', { replica: id });
    } catch (error) {
      if (isPassing(error) || !(await this.#isGivenUp(drive))) throw error;
    }
    onStep('replica.delete: gone');
    await records.change({ conditions: [{ key, version }], deletes: [key] });
  }

  /** Whether a drive takes no changes any more, and its replicas are to leave it: nobody will erase them. */
  async #isGivenUp(name: string): Promise<boolean> {
    const drive = (await this.#parts.records.drive(name))?.record;
    if (drive?.service !== 'draining') return false;
    const { drives } = await this.#parts.engine.call('drive.list', {});
    const status = (drives as readonly JsonObject[]).find(({ driveId }) => driveId === drive.id);
    return status?.['state'] !== 'open';
  }
}

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : 'INTERNAL';
