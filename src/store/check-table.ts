/** The volume table's records against each other. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import type { Findings } from './check-report.ts';
import type { VolumeTable } from './volume-table.ts';
import { VOLUME_BYTES_MAX, type TakenRecord } from './volume.ts';

export function checkTable(table: VolumeTable, findings: Findings): void {
  const check = new TableCheck(findings);
  for (const [slot, record] of table.records()) if (record.kind !== 'free') check.see(slot, record);
  check.end();
}

class TableCheck {
  readonly #findings: Findings;
  /** Volumes, by their number and by their uuid. */
  readonly #numbers = new Map<number, { readonly slot: number; readonly record: TakenRecord }>();
  readonly #uuids = new Map<string, number>();
  readonly #snapshots: { readonly slot: number; readonly record: TakenRecord }[] = [];
  readonly #births = new Set<string>();

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  see(slot: number, record: TakenRecord): void {
    if (record.kind === 'snapshot') this.#snapshots.push({ slot, record });
    if (record.kind !== 'volume') return;
    const sameNumber = this.#numbers.get(record.number);
    const sameUuid = this.#uuids.get(record.uuid);
    this.#numbers.set(record.number, { slot, record });
    this.#uuids.set(record.uuid, slot);
    if (sameNumber !== undefined)
      this.#conflict(slot, `Record ${sameNumber.slot} has its number ${record.number} too`);
    if (sameUuid !== undefined)
      this.#conflict(slot, `Record ${sameUuid} has its uuid "${record.uuid}" too`);
    const { sizeBytes } = record;
    if (sizeBytes === 0 || sizeBytes % BLOCK_BYTES !== 0 || sizeBytes > VOLUME_BYTES_MAX)
      this.#conflict(slot, `Volume "${record.uuid}" has ${sizeBytes} bytes, which no volume has`);
  }

  end(): void {
    for (const { slot, record } of this.#snapshots) {
      const volume = this.#numbers.get(record.number)?.record;
      const name = `${record.number}/${record.birth}`;
      if (volume === undefined)
        this.#conflict(slot, `Its volume, number ${record.number}, is not in the table`);
      else if (record.birth >= volume.birth)
        this.#conflict(
          slot,
          `Snapshot ${record.birth} of volume "${volume.uuid}" lies in its future: the volume is at ${volume.birth}`,
        );
      if (this.#births.has(name))
        this.#conflict(slot, `Another record is snapshot ${record.birth} of that volume too`);
      this.#births.add(name);
    }
  }

  #conflict(slot: number, what: string): void {
    this.#findings.add({
      code: 'TABLE_CONFLICT',
      severity: 'damage',
      where: `volume table, record ${slot}`,
      what,
      consequence: 'Which of the two counts is not known; a fault of the program that wrote it',
      wayOut: 'Copy what the volumes hold to another drive, and report this',
    });
  }
}
