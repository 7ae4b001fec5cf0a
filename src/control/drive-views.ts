/** Drives as the API shows them: those of this node as its engine has them, those of others as their nodes told last. */

import type { DriveRecord, DriveUseRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { RestParts } from './rest.ts';
import type { DriveView } from './drive-schemas.ts';
import { viewDrive } from './views.ts';

/** What shows a drive as everything is now. */
export async function driveViewer({
  records,
  drives,
  progress,
}: Pick<RestParts, 'records' | 'drives' | 'progress'>): Promise<
  (record: DriveRecord) => DriveView
> {
  const [statuses, own, uses, alive, replicas] = await Promise.all([
    drives.engineStatus(),
    records.drives(),
    records.driveUses(),
    records.alive(),
    records.replicas(),
  ]);
  const here = new Set(own.map(({ name }) => name));
  const statusOf = ({ name, id, node }: DriveRecord): JsonObject | undefined => {
    if (here.has(name)) return statuses.get(id);
    const lives = alive.some((each) => each.node === node);
    return lives
      ? toldOf(uses.find(({ drive }) => drive === name))
      : { reason: 'its node is down' };
  };
  return (record) =>
    viewDrive(record, {
      status: statusOf(record),
      replicas: replicas.filter(({ drive }) => drive === record.name).length,
      progress: progress.of(`drive/${record.name}`),
    });
}

/** As an engine would say it. */
function toldOf(use: DriveUseRecord | undefined): JsonObject | undefined {
  if (use === undefined) return undefined;
  const { state, usedBytes, freeBytes } = use;
  return { state, usedBytes, freeBytes };
}
