/** Who owns what, after the log is replayed in memory. */

import type { Allocator } from './allocator.ts';
import type { Findings } from './check-report.ts';
import type { ExtentMap, Version } from './extent-map.ts';
import { EXTENT_BYTES } from './geometry.ts';
import type { Media } from './media.ts';
import type { VolumeTable } from './volume-table.ts';
import type { Volume } from './volume.ts';

export type OwnersToCheck = {
  readonly media: Media;
  readonly map: ExtentMap;
  readonly allocator: Allocator;
  readonly table: VolumeTable;
  readonly findings: Findings;
};

/** Returns the number of volumes. */
export function checkOwners(work: OwnersToCheck): number {
  const { map, allocator, table, findings } = work;
  const owners = new Map<number, string>();
  let volumes = 0;
  for (const volume of table.all()) {
    const isGhost = volume.slot < 0;
    if (!isGhost) volumes++;
    map.forEach(volume, 0, (extent) => {
      const where = `extent ${extent} of volume "${volume.uuid}"`;
      if (isGhost) ghost(findings, volume, extent);
      const versions = map.versions(volume, extent);
      for (const version of versions) checkVersion(work, { where, version, owners });
      checkPlace(findings, volume, extent, versions);
      return true;
    });
  }
  const taken = allocator.cellCount - allocator.freeCount;
  if (taken !== owners.size) {
    findings.add({
      code: 'CELLS_LEAKED',
      severity: 'warning',
      where: 'cells',
      what: `${taken} cells are taken, and ${owners.size} belong to some extent`,
      consequence: 'The difference is space that nothing uses',
    });
  }
  return volumes;
}

function checkVersion(
  { allocator, findings }: OwnersToCheck,
  entry: {
    readonly where: string;
    readonly version: Version;
    readonly owners: Map<number, string>;
  },
): void {
  const { where, version, owners } = entry;
  const other = owners.get(version.cell);
  owners.set(version.cell, where);
  if (other !== undefined) {
    findings.add({
      code: 'CELL_OWNED_TWICE',
      severity: 'damage',
      where,
      what: `Its cell ${version.cell} belongs to ${other} too`,
      consequence: 'One of the two has lost its content; checksums tell which blocks',
    });
  }
  if ((version.data & ~version.decided) !== 0) {
    findings.add({
      code: 'MASKS_DISAGREE',
      severity: 'damage',
      where,
      what: `Blocks 0x${(version.data & ~version.decided).toString(16)} have data and are not decided`,
      consequence: 'Readers of older snapshots may see the wrong version',
    });
  }
  if (!allocator.isTaken(version.cell)) {
    findings.add({
      code: 'CELL_FREE_AND_OWNED',
      severity: 'damage',
      where,
      what: `Its cell ${version.cell} counts as free`,
      consequence: 'Another extent could be given the cell',
    });
  }
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
    where: `extent ${extent} of volume "${volume.uuid}"`,
    what: `It lies past the volume's ${volume.sizeBytes} bytes`,
    consequence: 'Old content would show if the volume grew',
  });
}
