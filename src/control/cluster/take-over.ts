/** What another node left half done of a volume that is attached nowhere: docs/cluster.md, "Who settles a volume". */

import { Refusal } from '../../model/errors.ts';
import { type VolumeRecord, settlerOf } from '../../model/records.ts';
import type { ControlParts } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import type { Nodes } from './nodes.ts';
import type { RecordWatch } from './record-watch.ts';

/** A node that lives is waited for so long. Longer than its lease, if it has just died. */
const WAIT_MS_MAX = 5000;

export type TakeOver = {
  readonly parts: Pick<ControlParts, 'records' | 'node'>;
  readonly watch: Pick<RecordWatch, 'until'>;
  readonly nodes: Pick<Nodes, 'liveness'>;
  readonly isAtRest: (volume: VolumeRecord) => boolean;
};

/**
 * Resolves when the volume is at rest, or this node's to settle: that of a node that is gone becomes so. Throws VOLUME_BUSY where one that lives is
 * still at it, and STORE_CONFLICT.
 */
export async function takeOver(name: string, how: TakeOver): Promise<void> {
  const { parts, watch, nodes, isAtRest } = how;
  let settler = '';
  const left = await watch.until(async (): Promise<Kept<VolumeRecord> | 'nothing' | undefined> => {
    const kept = await parts.records.volume(name);
    if (kept === undefined || kept.record.attachment !== undefined) return 'nothing';
    settler = settlerOf(kept.record) ?? '';
    if (settler === parts.node || isAtRest(kept.record)) return 'nothing';
    return nodes.liveness(settler).kind === 'up' ? undefined : kept;
  }, WAIT_MS_MAX);
  if (left === undefined) {
    throw new Refusal('VOLUME_BUSY', { volume: name, operation: `a change by node "${settler}"` });
  }
  if (left === 'nothing') return;
  const { record, version } = left;
  await parts.records.putVolume(
    { ...record, ...(parts.node === undefined ? {} : { settledBy: parts.node }) },
    version,
  );
}
