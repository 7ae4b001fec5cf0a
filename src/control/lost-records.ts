/** Records that are gone while the drives that they told of are there: to begin anew would forget the drives, with their volumes. */

import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../model/errors.ts';

/** Throws INSTALLATION_START where `directory` has neither state.db nor store.json, and its engine.json names drives. */
export function refuseLost(directory: string): void {
  const records = path.join(directory, 'state.db');
  const list = path.join(directory, 'engine.json');
  const isInEtcd = fs.existsSync(path.join(directory, 'store.json'));
  if (isInEtcd || fs.existsSync(records) || !fs.existsSync(list)) return;
  const drives = drivesIn(list);
  const [first] = drives;
  if (first === undefined) return;
  const problem = `"${records}" is gone, and the drive "${path.resolve(directory, first.path)}" is in use by this installation. Drives and volumes are untouched: put a copy of that file back, or move "${list}" away to begin without them`;
  throw new Refusal('INSTALLATION_START', { problem });
}

type Listed = { readonly path: string };

/** A list that cannot be read keeps the engine from starting, which says so. */
function drivesIn(list: string): readonly Listed[] {
  try {
    const { drives }: { drives: readonly Listed[] } = JSON.parse(fs.readFileSync(list, 'utf8'));
    return drives;
  } catch {
    return [];
  }
}
