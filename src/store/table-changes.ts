/**
 * Changes of the volume table, one after the other on each drive. Whoever takes a slot, a volume number or a birth, or writes a
 * record with what it read of one, does so alone until that is durable: of two that interleave, one would give away what the
 * other has, or bring an older record back.
 */

import { Turnstile } from '../lib/turnstile.ts';
import type { DriveParts } from './drive-store.ts';
import type { VolumeTable } from './volume-table.ts';

/** The one key: a drive has one table. */
const TABLE = 'table';

/** What {@link VolumeTable.change} takes. */
export type TableRecords = Parameters<VolumeTable['change']>[1];

/** Proof of being alone: only {@link TableChanges.alone} makes one. */
export type TableTurn = {
  /** Resolves once the records are durable. */
  readonly record: (records: TableRecords) => Promise<void>;
};

export class TableChanges {
  readonly #parts: Pick<DriveParts, 'drive' | 'table' | 'turns'>;
  readonly #turnstile = new Turnstile();

  constructor(parts: Pick<DriveParts, 'drive' | 'table' | 'turns'>) {
    this.#parts = parts;
  }

  /** Runs `task` after all earlier ones, alone. It must not wait for another one of them. */
  alone<T>(task: (turn: TableTurn) => Promise<T>): Promise<T> {
    return this.#turnstile.enter(TABLE, () => task({ record: (records) => this.#record(records) }));
  }

  async #record(records: TableRecords): Promise<void> {
    const { drive, table, turns } = this.#parts;
    await turns.durable((whenRoom) => table.change(drive.log, records, whenRoom));
  }
}
