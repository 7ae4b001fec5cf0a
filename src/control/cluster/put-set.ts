/** Changes of a volume's set record. */

import { recordJson } from '../../peer/record-json.ts';
import type { Record as SetRecord } from '../../replication/record.ts';
import { isConflict } from '../conflicts.ts';
import type { Kept, RecordsStore } from '../records-store.ts';

/** Puts a set in place of the one that was read. Whether it was put, or another came first: whoever asks looks again. */
export async function putSet(
  records: Pick<RecordsStore, 'change'>,
  volumeId: string,
  {
    kept,
    next,
    conditions = [],
  }: {
    readonly kept: Pick<Kept<SetRecord>, 'version'>;
    readonly next: SetRecord;
    readonly conditions?: readonly { readonly key: string; readonly version: number }[];
  },
): Promise<void> {
  const key = `set/${volumeId}`;
  try {
    await records.change({
      conditions: [{ key, version: kept.version }, ...conditions],
      puts: [{ key, record: recordJson(next) }],
    });
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
}
