/** Open marks, once the log is replayed. */

import type { Findings } from './check-report.ts';
import type { VolumeTable } from './volume-table.ts';

export function checkMarks(table: VolumeTable, findings: Findings): void {
  for (const volume of table.all()) {
    const count = volume.marks?.byExtent.size ?? 0;
    if (count === 0) continue;
    findings.add({
      code: 'MARKS_OPEN',
      severity: 'note',
      where: `volume "${volume.uuid}"`,
      what: `${count} marks are open: changes that its other replicas may not hold durably`,
      consequence: 'These extents are compared when the replicas are made equal',
    });
  }
}
