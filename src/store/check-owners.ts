/** Who owns what, after the log is replayed in memory. */

import type { Allocator } from './allocator.ts';
import type { Findings } from './check-report.ts';
import type { ExtentMap, Version } from './extent-map.ts';
import { EXTENT_BYTES } from './geometry.ts';
import type { VolumeTable } from './volume-table.ts';
import type { Volume } from './volume.ts';

export type OwnersToCheck = {
  readonly map: ExtentMap;
  readonly allocator: Allocator;
  readonly table: VolumeTable;
  readonly findings: Findings;
};

const BUG = 'Copy what the volumes hold to another drive, and report this';

/** Returns the number of volumes. */
export function checkOwners(work: OwnersToCheck): number {
  const { map, allocator, table, findings } = work;
  // A byte for each cell: a Map ends at 2^24 entries, which are one TiB.
  const owned = new Uint8Array(allocator.cellCount);
  const twice = new Set<number>();
  let volumes = 0;
  let ownedCount = 0;
  for (const volume of table.all()) {
    const isGhost = volume.slot < 0;
    if (!isGhost) volumes++;
    map.forEach(volume, 0, (extent) => {
      if (isGhost) ghost(findings, volume, extent);
      const versions = map.versions(volume, extent);
      for (const version of versions) {
        if (owned[version.cell] === 1) twice.add(version.cell);
        else ownedCount++;
        owned[version.cell] = 1;
        checkVersion(work, nameOf(volume, extent), version);
      }
      checkBirths(findings, volume, extent, versions);
      checkPlace(findings, volume, extent, versions);
      return true;
    });
  }
  if (twice.size > 0) ownedTwice(work, twice);
  const taken = allocator.cellCount - allocator.freeCount;
  if (taken > ownedCount) {
    findings.add({
      code: 'CELLS_LEAKED',
      severity: 'warning',
      where: 'cells',
      what: `${taken} cells are taken, and ${ownedCount} belong to some extent`,
      consequence: 'The difference is space that nothing uses',
    });
  }
  return volumes;
}

function nameOf(volume: Volume, extent: number): string {
  return `extent ${extent} of volume "${volume.uuid}"`;
}

function checkVersion(
  { allocator, findings }: OwnersToCheck,
  where: string,
  version: Version,
): void {
  if ((version.data & ~version.decided) !== 0) {
    findings.add({
      code: 'MASKS_DISAGREE',
      severity: 'damage',
      where,
      what: `Blocks 0x${(version.data & ~version.decided).toString(16)} of cell ${version.cell} have data and are not decided`,
      consequence: 'Readers of older snapshots may see the wrong version',
      wayOut: BUG,
    });
  }
  if (!allocator.isTaken(version.cell)) {
    findings.add({
      code: 'CELL_FREE_AND_OWNED',
      severity: 'damage',
      where,
      what: `Its cell ${version.cell} counts as free`,
      consequence: 'Another extent could be given the cell',
      wayOut: BUG,
    });
  }
}

/** Named only now, in a second walk: cells with two owners are rare, and names of all owners are gigabytes. */
function ownedTwice({ map, table, findings }: OwnersToCheck, twice: ReadonlySet<number>): void {
  const owners = new Map<number, string[]>();
  for (const volume of table.all()) {
    map.forEach(volume, 0, (extent) => {
      for (const { cell } of map.versions(volume, extent)) {
        if (twice.has(cell))
          owners.set(cell, [...(owners.get(cell) ?? []), nameOf(volume, extent)]);
      }
      return true;
    });
  }
  for (const [cell, names] of owners) {
    findings.add({
      code: 'CELL_OWNED_TWICE',
      severity: 'damage',
      where: `cell ${cell}`,
      what: `It belongs to ${names.join(' and to ')}`,
      consequence: 'One of them has lost its content; checksums tell which blocks',
      wayOut: BUG,
    });
  }
}

function checkBirths(
  findings: Findings,
  volume: Volume,
  extent: number,
  versions: readonly Version[],
): void {
  const births = versions.map((version) => volume.birthOf(version.era));
  if (new Set(births).size === births.length) return;
  findings.add({
    code: 'BIRTH_TWICE',
    severity: 'damage',
    where: nameOf(volume, extent),
    what: `Two of its cells are of one birth (${births.join(', ')})`,
    consequence: 'Which of the two is newer is not known: the drive does not open',
    wayOut: BUG,
  });
}

function ghost(findings: Findings, volume: Volume, extent: number): void {
  findings.add({
    code: 'OWNER_UNKNOWN',
    severity: 'warning',
    where: `extent ${extent} of volume number ${volume.number}`,
    what: 'The volume table has no such volume',
    consequence: 'Its space is not used by any volume',
  });
}

function checkPlace(
  findings: Findings,
  volume: Volume,
  extent: number,
  versions: readonly Version[],
): void {
  if (volume.slot < 0 || volume.state === 'deleting') return;
  // A version with data past the end may stay for a snapshot taken when the volume was larger.
  if (extent * EXTENT_BYTES < volume.sizeBytes || volume.snapshots.length > 0) return;
  if (versions.every((version) => version.data === 0)) return;
  findings.add({
    code: 'EXTENT_BEYOND_END',
    severity: 'warning',
    where: nameOf(volume, extent),
    what: `It lies past the volume's ${volume.sizeBytes} bytes`,
    consequence: 'Old content would show if the volume grew',
  });
}
